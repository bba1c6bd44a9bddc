{# True for rows that keep the expectations of severity `quarantine` in the contract of their stream. #}
{% macro good_rows(source_name, stream) %}
  {%- if source_name == 'airport_ops' and stream == 'flights' -%}
    {{ return("(" ~ adapter.quote("status") ~ " is null or " ~ adapter.quote("status") ~ " in ('scheduled', 'departed', 'landed', 'diverted'))" ~ ' and ' ~ "(" ~ adapter.quote("air_time") ~ " is null or (" ~ adapter.quote("air_time") ~ " >= 1 and " ~ adapter.quote("air_time") ~ " <= 1440))") }}
  {%- endif -%}
  {{ return('true') }}
{% endmacro %}
