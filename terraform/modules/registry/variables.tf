variable "project" {
  type = string
}

variable "region" {
  type = string
}

variable "readers" {
  description = "Members that pull images, by role."
  type        = map(string)
}

variable "writers" {
  description = "Members that push images, by role."
  type        = map(string)
}
