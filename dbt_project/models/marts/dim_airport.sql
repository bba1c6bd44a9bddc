select faa as airport_key, faa, name, lat, lon, alt, tz, dst, tzone, true as is_known from {{ ref('stg_airports') }}
union all
select 'unknown', null, 'Unknown airport', null, null, null, null, null, null, false
