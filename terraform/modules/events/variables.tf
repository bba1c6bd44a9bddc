variable "agent" {
  description = "Pub/Sub's own account, which moves dead letters, as a member."
  type        = string
}

variable "topics" {
  type = map(object({
    dead_letter_topic        = string
    dead_letter_subscription = string
    gateway_subscription     = string
  }))
}

variable "gateway_url" {
  description = "Address of the gateway's pushes without the topic; also their audience."
  type        = string
}

variable "push_account" {
  description = "Address of the account that pushes are signed as."
  type        = string
}

variable "redriver" {
  description = "Who takes dead letters and publishes them again."
  type        = string
}

variable "publishers" {
  description = "Who publishes on which topic."
  type        = map(object({ topic = string, member = string }))
}
