select tailnum, year, type, manufacturer, model, engines, seats, speed, engine
from {{ live_rows('airport_ops', 'planes') }} as merged
