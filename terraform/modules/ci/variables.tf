variable "repository" {
  description = "owner/name on GitHub."
  type        = string
}

variable "account_id" {
  description = "Full name of the service account."
  type        = string
}
