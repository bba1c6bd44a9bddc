output "emails" {
  description = "Addresses, by role."
  value       = { for role, account in google_service_account.role : role => account.email }
}

output "ids" {
  description = "Full names, by role."
  value       = { for role, account in google_service_account.role : role => account.name }
}
