{{ config(
  materialized='incremental',
  on_schema_change='fail',
  partition_by=by_month('flight_date'),
  cluster_by=['carrier', 'origin'],
  pre_hook="{{ forget_flight_days('flight_date') }}",
) }}
select
  flight_key, flight_date, carrier, flight, origin, dest, tailnum, airline_key, origin_airport_key, dest_airport_key,
  plane_key, scheduled_departure, departed_at, dep_delay, landed_at, arr_delay, air_time, distance, status
from {{ ref('int_flights') }}
where {{ on_flight_days('flight_date') }}
