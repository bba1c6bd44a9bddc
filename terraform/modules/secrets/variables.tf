variable "project" {
  type = string
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

variable "first_rotation" {
  description = "When the first reminder comes; later ones follow by themselves."
  type        = string
  default     = "2027-03-01T08:00:00Z"
}
