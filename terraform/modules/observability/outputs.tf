output "channels" {
  description = "Ids of the notification channels."
  value       = local.channels
}
