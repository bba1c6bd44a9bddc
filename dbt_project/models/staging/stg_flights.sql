select
  flight_date, carrier, flight, origin, dest, tailnum, distance, status,
  {{ utc_timestamp('scheduled_departure') }} as scheduled_departure,
  {{ utc_timestamp('departed_at') }} as departed_at, dep_delay,
  {{ utc_timestamp('landed_at') }} as landed_at, arr_delay, air_time
from {{ live_rows('airport_ops', 'flights') }} as merged
