variable "project" {
  type = string
}

variable "location" {
  type = string
}

variable "raw_datasets" {
  type = list(string)
}

variable "platform_datasets" {
  type = list(string)
}

variable "mergers" {
  description = "Members that merge."
  type        = list(string)
}

variable "modellers" {
  description = "Members that build and publish marts."
  type        = list(string)
}

variable "scientists" {
  description = "Members that read every dataset."
  type        = list(string)
}

variable "analysts" {
  description = "Members that read the marts."
  type        = list(string)
}

variable "deletion_protection" {
  type = bool
}
