-- One row per airline: how many of its flights landed, and which share of them more than 15 minutes late.
select
  airline,
  carrier,
  cast(sum(landed) as int64) as landed,
  cast(sum(late_arrivals) as int64) as late_arrivals,
  cast(sum(cancelled) as int64) as cancelled,
  sum(late_arrivals) / nullif(sum(landed), 0) as late_share,
  min(month) as first_month,
  max(month) as last_month
from marts.airline_punctuality_monthly
group by airline, carrier
having sum(landed) > 0
order by late_share desc, carrier
