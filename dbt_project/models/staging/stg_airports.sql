select faa, name, lat, lon, alt, tz, dst, tzone from {{ live_rows('airport_ops', 'airports') }} as merged
