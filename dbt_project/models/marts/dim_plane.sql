select tailnum as plane_key, tailnum, year, type, manufacturer, model, engines, seats, speed, engine, true as is_known
from {{ ref('stg_planes') }}
union all
select 'unknown', null, null, null, null, null, null, null, null, null, false
