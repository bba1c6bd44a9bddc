variable "project" {
  type = string
}

variable "pubsub_agent" {
  description = "Pub/Sub's own account, which signs pushes, as a member."
  type        = string
}

variable "service_accounts" {
  description = "Ids of the service accounts, by role."
  type        = map(string)
}

variable "workload_identities" {
  description = "Role that a Kubernetes account (namespace/name) acts as."
  type        = map(string)
}
