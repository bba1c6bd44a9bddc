output "node_account" {
  description = "Address of the nodes' service account."
  value       = google_service_account.nodes.email
}
