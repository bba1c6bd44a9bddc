with observed as (
  select * from {{ ref('stg_weather') }}
)
select
  origin,
  time_hour,
  case
    when precip > 0 then 'precipitation'
    when visib < 3 then 'low_visibility'
    when wind_speed >= 20 then 'windy'
    else 'fair'
  end as weather
from observed
