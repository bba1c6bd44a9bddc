{{ config(
  materialized='incremental',
  on_schema_change='fail',
  partition_by=by_month('flight_date'),
  cluster_by=['carrier'],
  pre_hook="{{ forget_flight_days('flight_date') }}",
) }}
with flights as (
  select flight_date, carrier, status, dep_delay, arr_delay, 0 as cancelled from {{ ref('fct_flights') }}
  where {{ on_flight_days('flight_date') }}
  union all
  select flight_date, carrier, 'cancelled', null, null, 1 from {{ ref('stg_cancelled_flights') }}
  where {{ on_flight_days('flight_date') }}
),
counted as (
  select
    flight_date,
    carrier,
    count(*) as scheduled,
    count(dep_delay) as departed,
    sum(case when status = 'landed' then 1 else 0 end) as landed,
    sum(case when status = 'diverted' then 1 else 0 end) as diverted,
    sum(cancelled) as cancelled,
    sum(case when dep_delay > 15 then 1 else 0 end) as late_departures,
    sum(case when arr_delay > 15 then 1 else 0 end) as late_arrivals,
    {{ mean('dep_delay') }} as avg_dep_delay,
    {{ mean('arr_delay') }} as avg_arr_delay
  from flights
  group by flight_date, carrier
)
select
  flight_date,
  carrier,
  cast(scheduled as int64) as scheduled,
  cast(departed as int64) as departed,
  cast(landed as int64) as landed,
  cast(diverted as int64) as diverted,
  cast(cancelled as int64) as cancelled,
  cast(late_departures as int64) as late_departures,
  cast(late_arrivals as int64) as late_arrivals,
  avg_dep_delay,
  avg_arr_delay,
  cast(late_arrivals as {{ float64() }}) / nullif(landed, 0) as late_arrival_share
from counted
