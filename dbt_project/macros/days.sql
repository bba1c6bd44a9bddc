{# Which days an incremental model builds anew, as literals, so that all else is pruned. #}

{# Days in which flights changed; none: all of them, as dimensions changed too, or the days are not known. #}
{% macro flight_days() %}
  {%- set changed = var('changed', {}) -%}
  {%- for stream in ['airport_ops.airlines', 'airport_ops.airports', 'airport_ops.planes'] if stream in changed -%}
    {{ return(none) }}
  {%- endfor -%}
  {{ return(changed.get('airport_ops.flights')) }}
{% endmacro %}

{# Condition on a date column. #}
{% macro on_days(column, days) -%}
  {%- if days is none -%} true
  {%- elif not days -%} false
  {%- else -%} {{ column }} in ({% for day in days %}date '{{ day }}'{{ ', ' if not loop.last }}{% endfor %})
  {%- endif -%}
{%- endmacro %}

{# The same for a model that adds to what the published mart has: before its first build there is nothing to add to. #}
{% macro on_flight_days(column) -%}
  {{ on_days(column, flight_days() if is_incremental() else none) }}
{%- endmacro %}

{# Hook: takes out the days that are built anew. #}
{% macro forget_flight_days(column) -%}
  {%- if is_incremental() -%} delete from {{ this }} where {{ on_flight_days(column) }} {%- endif -%}
{%- endmacro %}

{# Lets a test say `where: __flight_days__`: older days were tested when they were built. #}
{% macro get_where_subquery(relation) -%}
  {%- set where = config.get('where', '') -%}
  {%- if where -%}
    (select * from {{ relation }} where {{ where | replace('__flight_days__', on_days('flight_date', flight_days())) }}) dbt_subquery
  {%- else -%} {{ relation }}
  {%- endif -%}
{%- endmacro %}
