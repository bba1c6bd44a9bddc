variable "project" {
  type = string
}

variable "billing_account" {
  type = string
}

variable "amount" {
  type = number
}

variable "channels" {
  description = "Ids of notification channels."
  type        = list(string)
}
