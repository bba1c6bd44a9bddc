-- Instants of one flight are in order.
select flight_key, departed_at, landed_at
from {{ ref('fct_flights') }}
where landed_at < departed_at
