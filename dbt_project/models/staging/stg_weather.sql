select
  origin, {{ utc_timestamp('time_hour') }} as time_hour, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip,
  pressure, visib
from {{ live_rows('airport_ops', 'weather') }} as merged
