select flight_date, carrier, flight, origin from {{ deleted_rows('airport_ops', 'flights') }} as merged
