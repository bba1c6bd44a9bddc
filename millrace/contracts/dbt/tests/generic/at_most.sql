{# A count is never larger than the count it is a part of. #}
{% test at_most(model, column_name, whole) %}
select * from {{ model }} where {{ column_name }} > {{ whole }}
{% endtest %}
