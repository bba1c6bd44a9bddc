select flight_date, carrier, flight, origin
from {{ source('airport_ops', 'flights') }}
where _delete_version is not null and (_version is null or _version <= _delete_version)
