variable "project" {
  type = string
}

variable "alerts_file" {
  description = "Path of alerts.yaml."
  type        = string
}

variable "dashboard_file" {
  description = "Path of the dashboard's JSON."
  type        = string
}

variable "domain" {
  type = string
}

variable "slack_channel" {
  type = string
}

variable "alert_email" {
  type = string
}

variable "alerting" {
  description = "Whether alerts are sent."
  type        = bool
}

variable "freshness_s" {
  description = "Streams with a promise; each gets its objectives."
  type        = map(number)
}
