with flights as (
  select origin, {{ hour_of('scheduled_departure') }} as time_hour, dep_delay
  from {{ ref('fct_flights') }}
  where departed_at is not null
),
observed as (
  select flights.origin, coalesce(weather.weather, 'unknown') as weather, flights.dep_delay
  from flights
  left join {{ ref('int_hourly_weather') }} as weather
    on weather.origin = flights.origin and weather.time_hour = flights.time_hour
)
select
  origin,
  weather,
  count(*) as flights,
  cast(sum(case when dep_delay > 15 then 1 else 0 end) as int64) as late_departures,
  {{ mean('dep_delay') }} as avg_dep_delay
from observed
group by origin, weather
