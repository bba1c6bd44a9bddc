select tailnum, year, type, manufacturer, model, engines, seats, speed, engine
from {{ source('airport_ops', 'planes_live') }}
