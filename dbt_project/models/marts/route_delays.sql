select
  origin,
  dest,
  count(*) as flights,
  cast(sum(case when status = 'landed' then 1 else 0 end) as int64) as landed,
  {{ mean('dep_delay') }} as avg_dep_delay,
  {{ mean('arr_delay') }} as avg_arr_delay,
  max(arr_delay) as worst_arr_delay,
  {{ mean('air_time') }} as avg_air_time
from {{ ref('fct_flights') }}
where departed_at is not null
group by origin, dest
