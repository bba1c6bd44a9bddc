select
  origin, {{ utc_timestamp('time_hour') }} as time_hour, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip,
  pressure, visib
from {{ source('airport_ops', 'weather_live') }}
