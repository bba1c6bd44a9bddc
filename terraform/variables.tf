variable "project" {
  description = "Id of the project that all is made in."
  type        = string
}

variable "region" {
  description = "Region of the cluster, Dataflow, Cloud Run and the images."
  type        = string
  default     = "europe-west1"
}

variable "location" {
  description = "Location of the lake and the warehouse; the region must be in it."
  type        = string
  default     = "EU"
}

variable "domain" {
  description = "Name under which Pub/Sub reaches the gateway, e.g. gateway.example.com; its A record is output `gateway_address`."
  type        = string
}

variable "billing_account" {
  description = "Billing account for the budget; empty: no budget is made."
  type        = string
  default     = ""
}

variable "monthly_budget" {
  description = "Sum per month above which billing warns, in the account's currency."
  type        = number
  default     = 1000
}

variable "slack_channel" {
  description = "Display name of a Slack channel made in Cloud Monitoring (its token then is in no state); empty: none."
  type        = string
  default     = ""
}

variable "alert_email" {
  description = "Address that alerts go to besides Slack; empty: none."
  type        = string
  default     = ""
}

variable "alerting" {
  description = "Whether alerts are sent. Switched on once the platform runs: before that, it is rightly found missing."
  type        = bool
  default     = false
}

variable "scientists" {
  description = "Groups that read the lake's raw files and every dataset, e.g. group:scientists@example.com."
  type        = list(string)
  default     = []
}

variable "analysts" {
  description = "Groups that read the marts only."
  type        = list(string)
  default     = []
}

variable "model_in_cluster" {
  description = "Whether dbt runs in the pool gke (settings pools.dbt = gke) instead of on Cloud Run."
  type        = bool
  default     = false
}

variable "github_repository" {
  description = "owner/name of the repository whose main branch may push images and deploy; empty: none."
  type        = string
  default     = ""
}

variable "database_tier" {
  description = "Machine of the Cloud SQL instances."
  type        = string
  default     = "db-custom-1-3840"
}

variable "deletion_protection" {
  description = "Whether cluster, databases, lake and datasets refuse to be deleted."
  type        = bool
  default     = true
}

variable "operators" {
  description = "Networks that reach the cluster's API, by name, e.g. {office = \"203.0.113.0/24\"}."
  type        = map(string)
  default     = {}
}

# Below: names that the code has, written by `millrace contracts terraform-names` into names.auto.tfvars.json.

variable "service_accounts" {
  description = "Ids of the service accounts, by role."
  type        = map(string)
}

variable "topics" {
  description = "Topics, with what belongs to each."
  type = map(object({
    dead_letter_topic        = string
    dead_letter_subscription = string
    gateway_subscription     = string
  }))
}

variable "landed_topic" {
  description = "Topic that the lake announces manifests on."
  type        = string
}

variable "rotated_topic" {
  description = "Topic that Secret Manager tells rotations on."
  type        = string
}

variable "ingest_topic" {
  description = "Topic on which a source is asked for."
  type        = string
}

variable "completed_topic" {
  description = "Topic on which the gateway tells what Airbyte's webhook told it."
  type        = string
}

variable "published_topics" {
  description = "Topics that model runs publish on; flows publish dead letters on every topic again."
  type        = list(string)
}

variable "manifests_prefix" {
  description = "Where in the lake manifests are."
  type        = string
}

variable "raw_prefix" {
  description = "Where in the lake Airbyte writes."
  type        = string
}

variable "site_prefix" {
  description = "Where in the lake the pages for people are."
  type        = string
}

variable "temporary_prefixes" {
  description = "Where in the lake files may be deleted after a while."
  type        = list(string)
}

variable "raw_datasets" {
  description = "Datasets of merged tables, one per source."
  type        = list(string)
}

variable "platform_datasets" {
  description = "Datasets of the platform itself and of its models."
  type        = list(string)
}

variable "secrets" {
  description = "Names of secrets, by who reads them."
  type        = map(list(string))
}

variable "freshness_s" {
  description = "Seconds in which something new is promised, by stream."
  type        = map(number)
}
