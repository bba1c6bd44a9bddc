variable "project" {
  type = string
}

variable "location" {
  type = string
}

variable "writer" {
  description = "Airbyte's service account, as a member."
  type        = string
}

variable "deletion_protection" {
  type = bool
}
