with flights as (
  select * from {{ ref('stg_flights') }}
),
airlines as (
  select carrier from {{ ref('stg_airlines') }}
),
airports as (
  select faa from {{ ref('stg_airports') }}
),
planes as (
  select tailnum from {{ ref('stg_planes') }}
)
select
  flights.*,
  {{ dbt.concat(["cast(flights.flight_date as " ~ dbt.type_string() ~ ")", "'|'", "flights.carrier", "'|'",
                 "cast(flights.flight as " ~ dbt.type_string() ~ ")", "'|'", "flights.origin"]) }} as flight_key,
  coalesce(airlines.carrier, 'unknown') as airline_key,
  coalesce(origins.faa, 'unknown') as origin_airport_key,
  coalesce(destinations.faa, 'unknown') as dest_airport_key,
  coalesce(planes.tailnum, 'unknown') as plane_key
from flights
left join airlines on airlines.carrier = flights.carrier
left join airports as origins on origins.faa = flights.origin
left join airports as destinations on destinations.faa = flights.dest
left join planes on planes.tailnum = flights.tailnum
