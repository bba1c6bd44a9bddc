-- One row per route: the fifteen with the longest mean delay at arrival, of those with at least five landings.
select
  routes.origin,
  routes.dest,
  coalesce(airports.name, routes.dest) as dest_name,
  routes.landed,
  routes.avg_arr_delay,
  routes.worst_arr_delay
from marts.route_delays as routes
left join marts.dim_airport as airports on airports.faa = routes.dest
where routes.landed >= 5 and routes.avg_arr_delay is not null
order by routes.avg_arr_delay desc, routes.origin, routes.dest
limit 15
