select carrier, name from {{ live_rows('airport_ops', 'airlines') }} as merged
