variable "region" {
  type = string
}

variable "network" {
  description = "Id of the VPC."
  type        = string
}

variable "tier" {
  type = string
}

variable "deletion_protection" {
  type = bool
}
