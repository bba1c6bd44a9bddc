-- One row per flight of the newest day on which any departed; instants are in UTC, `timezone` is that of the origin.
select
  flights.flight_date,
  flights.scheduled_departure,
  origins.tzone as timezone,
  flights.origin,
  flights.dest,
  coalesce(destinations.name, flights.dest) as dest_name,
  coalesce(airlines.name, flights.carrier) as airline,
  flights.carrier,
  flights.flight,
  flights.status,
  flights.dep_delay,
  flights.arr_delay
from marts.fct_flights as flights
left join marts.dim_airline as airlines on airlines.carrier = flights.carrier
left join marts.dim_airport as origins on origins.faa = flights.origin
left join marts.dim_airport as destinations on destinations.faa = flights.dest
where flights.flight_date = (select max(flight_date) from marts.fct_flights where departed_at is not null)
order by flights.scheduled_departure, flights.carrier, flights.flight, flights.origin
