select carrier, name from {{ source('airport_ops', 'airlines_live') }}
