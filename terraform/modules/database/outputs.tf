output "prefect_host" {
  value = google_sql_database_instance.postgres["prefect"].private_ip_address
}

output "airbyte_host" {
  value = google_sql_database_instance.postgres["airbyte"].private_ip_address
}
