variable "agent" {
  description = "Secret Manager's own account, which tells the rotations, as a member."
  type        = string
}

variable "rotated_topic" {
  description = "Id of the topic that rotations are told on."
  type        = string
}

variable "secrets" {
  description = "Names of secrets, by group."
  type        = map(list(string))
}

variable "readers" {
  description = "Members that read a group's secrets, by role."
  type        = map(map(string))
}

variable "describers" {
  description = "Members that see the age and state of the secrets, by role."
  type        = map(string)
}
