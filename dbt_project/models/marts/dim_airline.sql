select carrier as airline_key, carrier, name, true as is_known from {{ ref('stg_airlines') }}
union all
select 'unknown', cast(null as {{ dbt.type_string() }}), 'Unknown airline', false
