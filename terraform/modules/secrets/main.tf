# Secrets without values: `gcloud secrets versions add` gives them. Each tells its rotations, and who may read it.
data "google_project" "this" {
  project_id = var.project
}

locals {
  names = toset(flatten(values(var.secrets)))
  grants = merge([
    for group, secrets in var.secrets : {
      for pair in setproduct(secrets, keys(var.readers[group])) :
      "${pair[0]}/${pair[1]}" => { secret = pair[0], member = var.readers[group][pair[1]] }
    }
  ]...)
}

resource "google_pubsub_topic_iam_member" "rotations" {
  topic  = var.rotated_topic
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
}

resource "google_secret_manager_secret" "secret" {
  for_each  = local.names
  secret_id = each.key

  replication {
    auto {}
  }

  topics {
    name = var.rotated_topic
  }

  # A reminder on the topic, four times a year: a person or the owner's system then adds a version.
  rotation {
    rotation_period    = "7776000s"
    next_rotation_time = var.first_rotation
  }

  lifecycle {
    ignore_changes = [rotation[0].next_rotation_time]
  }

  depends_on = [google_pubsub_topic_iam_member.rotations]
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each  = local.grants
  secret_id = google_secret_manager_secret.secret[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value.member
}
