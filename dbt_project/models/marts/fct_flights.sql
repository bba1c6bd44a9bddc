select
  flight_key, flight_date, carrier, flight, origin, dest, tailnum, airline_key, origin_airport_key, dest_airport_key,
  plane_key, scheduled_departure, departed_at, dep_delay, landed_at, arr_delay, air_time, distance, status
from {{ ref('int_flights') }}
