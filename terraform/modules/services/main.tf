# The APIs that the platform calls; they stay on when this is destroyed, others may use them. docs/deploy.md switches on
# the few that Terraform itself needs to switch on the others.
resource "google_project_service" "needed" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "containerscanning.googleapis.com",
    "containersecurity.googleapis.com",
    "dataflow.googleapis.com",
    "dns.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "servicenetworking.googleapis.com",
    "serviceusage.googleapis.com",
    "sqladmin.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
  ])
  project            = var.project
  service            = each.key
  disable_on_destroy = false
}

# Google's own accounts that we give rights to. Switching an API on does not make them, and a right for an account that
# does not exist is refused: https://cloud.google.com/iam/docs/create-service-agents
resource "google_project_service_identity" "agent" {
  provider   = google-beta
  for_each   = toset(["pubsub.googleapis.com", "secretmanager.googleapis.com"])
  project    = var.project
  service    = each.key
  depends_on = [google_project_service.needed]
}

# An API that was switched on, and an account that was made, are known everywhere after a while only.
resource "time_sleep" "known" {
  create_duration = "90s"
  triggers        = { agents = join(",", [for agent in google_project_service_identity.agent : agent.email]) }
}
