select faa, name, lat, lon, alt, tz, dst, tzone from {{ source('airport_ops', 'airports_live') }}
