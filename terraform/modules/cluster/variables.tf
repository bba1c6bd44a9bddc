variable "project" {
  type = string
}

variable "region" {
  type = string
}

variable "network" {
  type = string
}

variable "subnetwork" {
  type = string
}

variable "operators" {
  description = "Networks that reach the cluster's API, by name."
  type        = map(string)
}

variable "deletion_protection" {
  type = bool
}
