variable "project" {
  type = string
}

variable "service_accounts" {
  description = "Ids of the service accounts, by role."
  type        = map(string)
}

variable "workload_identities" {
  description = "Role that a Kubernetes account (namespace/name) acts as."
  type        = map(string)
}
