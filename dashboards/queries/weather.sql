-- One row per origin and weather at the scheduled hour: flights that departed, how many of them late, their mean delay.
select
  origin,
  weather,
  flights,
  late_departures,
  late_departures / nullif(flights, 0) as late_share,
  avg_dep_delay
from marts.weather_delays
where avg_dep_delay is not null
order by origin, weather
