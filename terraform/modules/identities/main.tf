# Who acts: one service account per role, no keys, and what each may do in the whole project. Rights on one bucket,
# topic, dataset or secret are beside that resource.
locals {
  # Roles that have no narrower place than the project.
  project_roles = {
    "flow/dataflow"   = { role = "roles/dataflow.developer", account = "flow" }
    "flow/jobs"       = { role = "roles/bigquery.jobUser", account = "flow" }
    "dataflow/worker" = { role = "roles/dataflow.worker", account = "dataflow" }
    "dbt/jobs"        = { role = "roles/bigquery.jobUser", account = "dbt" }
    # What each job billed: the status page adds it up by stream. It shows who asked what, and no result.
    "flow/bills"       = { role = "roles/bigquery.resourceViewer", account = "flow" }
    "dbt/bills"        = { role = "roles/bigquery.resourceViewer", account = "dbt" }
    "worker/cloud-run" = { role = "roles/run.developer", account = "worker" }
  }
  # Who may start work that then acts as another.
  act_as = {
    "flow/dataflow" = { actor = "flow", as = "dataflow" }
    "worker/dbt"    = { actor = "worker", as = "dbt" }
  }
}

resource "google_service_account" "role" {
  for_each     = var.service_accounts
  account_id   = each.value
  display_name = "Millrace: ${each.key}"
}

resource "google_project_iam_member" "role" {
  for_each = local.project_roles
  project  = var.project
  role     = each.value.role
  member   = google_service_account.role[each.value.account].member
}

resource "google_service_account_iam_member" "act_as" {
  for_each           = local.act_as
  service_account_id = google_service_account.role[each.value.as].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.role[each.value.actor].member
}

resource "google_service_account_iam_member" "workload_identity" {
  for_each           = var.workload_identities
  service_account_id = google_service_account.role[each.value].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${each.key}]"
}

# Pub/Sub signs its pushes as our push account, which itself may do nothing.
resource "google_service_account_iam_member" "push_tokens" {
  service_account_id = google_service_account.role["push"].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = var.pubsub_agent
}
