{{ config(materialized='view') }}
with daily as (
  select * from {{ ref('airline_punctuality_daily') }}
),
monthly as (
  select
    cast({{ dbt.date_trunc('month', 'flight_date') }} as date) as month,
    carrier,
    cast(sum(scheduled) as int64) as scheduled,
    cast(sum(departed) as int64) as departed,
    cast(sum(landed) as int64) as landed,
    cast(sum(cancelled) as int64) as cancelled,
    cast(sum(late_arrivals) as int64) as late_arrivals
  from daily
  group by 1, 2
)
select
  monthly.month,
  monthly.carrier,
  airlines.name as airline,
  monthly.scheduled,
  monthly.departed,
  monthly.landed,
  monthly.cancelled,
  monthly.late_arrivals,
  cast(monthly.late_arrivals as {{ float64() }}) / nullif(monthly.landed, 0) as late_arrival_share
from monthly
left join {{ ref('dim_airline') }} as airlines on airlines.carrier = monthly.carrier
