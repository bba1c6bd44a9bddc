output "topic_ids" {
  description = "Full names of the topics."
  value       = { for name, topic in google_pubsub_topic.event : name => topic.id }
}
