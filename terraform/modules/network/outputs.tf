output "network" {
  value = google_compute_network.main.name
}

output "network_id" {
  value      = google_compute_network.main.id
  depends_on = [google_service_networking_connection.services]
}

output "subnetwork" {
  value = google_compute_subnetwork.main.name
}

output "subnetwork_url" {
  value = google_compute_subnetwork.main.self_link
}

output "gateway_address" {
  value = google_compute_global_address.gateway.address
}
