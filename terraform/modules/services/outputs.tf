output "agents" {
  description = "Google's own accounts, by service, as members."
  value       = { for service, agent in google_project_service_identity.agent : trimsuffix(service, ".googleapis.com") => "serviceAccount:${agent.email}" }
  depends_on  = [time_sleep.known]
}
