{# What staging reads: tables as the merge keeps them, all at one moment. #}

{# Live rows of a stream that keep the expectations of severity `quarantine` in its contract. #}
{% macro live_rows(source_name, stream) -%}
(
  select * from {{ source(source_name, stream) }}{{ as_of() }}
  where _version is not null and (_delete_version is null or _delete_version < _version)
    and {{ good_rows(source_name, stream) }}
)
{%- endmacro %}

{# Keys whose newest change is a delete; an erased key, whose registers are equal, is not even known to be gone. #}
{% macro deleted_rows(source_name, stream) -%}
(
  select * from {{ source(source_name, stream) }}{{ as_of() }}
  where _delete_version is not null and (_version is null or _version < _delete_version)
)
{%- endmacro %}

{# DuckDB holds writers off while dbt reads; BigQuery reads the past. #}
{% macro as_of() %}{{ return(adapter.dispatch('as_of')()) }}{% endmacro %}
{% macro default__as_of() %}{% endmacro %}
{% macro bigquery__as_of() -%}
  {%- set instant = env_var('MILLRACE_AS_OF', '') -%}
  {%- if instant %} for system_time as of timestamp '{{ instant }}'{% endif -%}
{%- endmacro %}
