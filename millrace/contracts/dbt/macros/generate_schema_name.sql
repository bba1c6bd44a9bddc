{# Marts go to the schema `marts` of the candidate (DuckDB: a file of its own; BigQuery: a dataset of its own). #}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {%- if custom_schema_name is none or target.type == 'bigquery' -%} {{ target.schema }}
  {%- else -%} {{ custom_schema_name | trim }}
  {%- endif -%}
{%- endmacro %}
