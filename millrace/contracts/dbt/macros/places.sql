{# What differs between DuckDB and BigQuery, in one place. #}

{% macro utc_timestamp(instant) %}{{ return(adapter.dispatch('utc_timestamp')(instant)) }}{% endmacro %}
{% macro default__utc_timestamp(instant) %}({{ instant }} at time zone 'UTC'){% endmacro %}
{% macro bigquery__utc_timestamp(instant) %}{{ instant }}{% endmacro %}

{% macro hour_of(instant) %}{{ return(adapter.dispatch('hour_of')(instant)) }}{% endmacro %}
{% macro default__hour_of(instant) %}date_trunc('hour', {{ instant }}){% endmacro %}
{% macro bigquery__hour_of(instant) %}timestamp_trunc({{ instant }}, hour){% endmacro %}

{% macro mean(column) %}cast(avg({{ column }}) as {{ float64() }}){% endmacro %}

{% macro float64() %}{{ return('float64' if target.type == 'bigquery' else 'double') }}{% endmacro %}

{# Partitions of a mart, by the month of a date; a DuckDB table has none. #}
{% macro by_month(column) %}{{ return(
  {'field': column, 'data_type': 'date', 'granularity': 'month'} if target.type == 'bigquery' else none
) }}{% endmacro %}
