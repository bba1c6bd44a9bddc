-- The daily figures and the flights themselves tell the same numbers.
with daily as (
  select sum(scheduled) as scheduled, sum(landed) as landed, sum(diverted) as diverted
  from {{ ref('airline_punctuality_daily') }}
),
flights as (
  select
    count(*) as live,
    sum(case when status = 'landed' then 1 else 0 end) as landed,
    sum(case when status = 'diverted' then 1 else 0 end) as diverted
  from {{ ref('fct_flights') }}
),
cancelled as (select count(*) as cancelled from {{ ref('stg_cancelled_flights') }})
select *
from daily cross join flights cross join cancelled
where coalesce(daily.scheduled, 0) <> flights.live + cancelled.cancelled
  or coalesce(daily.landed, 0) <> coalesce(flights.landed, 0)
  or coalesce(daily.diverted, 0) <> coalesce(flights.diverted, 0)
