# Datasets: raw tables per source, staging, the platform's ledger (ops), audit and the marts. dbt makes its candidate
# datasets itself, and owns what it makes.
locals {
  raw      = toset(var.raw_datasets)
  platform = toset(var.platform_datasets)
  datasets = setunion(local.raw, local.platform)
  # The merge writes raw tables and the ledger; the models write marts, and the ledger says what was published.
  editors = merge(
    { for pair in setproduct(setunion(local.raw, ["staging", "ops", "audit"]), var.mergers) : "${pair[0]}/${pair[1]}" => { dataset = pair[0], member = pair[1] } },
    { for pair in setproduct(["staging", "marts", "ops", "audit"], var.modellers) : "${pair[0]}/${pair[1]}" => { dataset = pair[0], member = pair[1] } },
  )
  viewers = merge(
    { for pair in setproduct(local.raw, var.modellers) : "${pair[0]}/${pair[1]}" => { dataset = pair[0], member = pair[1] } },
    { for pair in setproduct(local.datasets, var.scientists) : "${pair[0]}/${pair[1]}" => { dataset = pair[0], member = pair[1] } },
    { for pair in setproduct(["marts"], var.analysts) : "${pair[0]}/${pair[1]}" => { dataset = pair[0], member = pair[1] } },
  )
}

resource "google_bigquery_dataset" "dataset" {
  for_each                   = local.datasets
  dataset_id                 = each.key
  location                   = var.location
  delete_contents_on_destroy = !var.deletion_protection
  max_time_travel_hours      = 168
  # What a batch stages is of no use after it.
  default_table_expiration_ms = each.key == "staging" ? 604800000 : null
}

resource "google_bigquery_dataset_iam_member" "editor" {
  for_each   = local.editors
  dataset_id = google_bigquery_dataset.dataset[each.value.dataset].dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = each.value.member
}

resource "google_bigquery_dataset_iam_member" "viewer" {
  for_each   = local.viewers
  dataset_id = google_bigquery_dataset.dataset[each.value.dataset].dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = each.value.member
}

# Merges show on the status page how many rows the marts have; they read none.
resource "google_bigquery_dataset_iam_member" "marts_metadata" {
  for_each   = toset(var.mergers)
  dataset_id = google_bigquery_dataset.dataset["marts"].dataset_id
  role       = "roles/bigquery.metadataViewer"
  member     = each.key
}

# Candidates are datasets that a model run makes, and drops when they are old.
resource "google_project_iam_custom_role" "candidates" {
  role_id     = "millraceCandidates"
  title       = "Millrace: make candidate datasets"
  permissions = ["bigquery.datasets.create"]
}

resource "google_project_iam_member" "candidates" {
  for_each = toset(var.modellers)
  project  = var.project
  role     = google_project_iam_custom_role.candidates.id
  member   = each.key
}

# Readers pay for their queries in this project.
resource "google_project_iam_member" "queries" {
  for_each = toset(concat(var.scientists, var.analysts))
  project  = var.project
  role     = "roles/bigquery.jobUser"
  member   = each.key
}
