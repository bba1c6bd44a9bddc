# Secrets without values: `gcloud secrets versions add` gives them. Each tells its rotations, and who may read it.
locals {
  names = toset(flatten(values(var.secrets)))
  # Prefect's own are not the platform's to watch.
  described = {
    for pair in setproduct(flatten([for group, secrets in var.secrets : secrets if !startswith(group, "prefect")]), keys(var.describers)) :
    "${pair[0]}/${pair[1]}" => { secret = pair[0], member = var.describers[pair[1]] }
  }
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
  member = var.agent
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

  # A reminder on the topic, four times a year: a person or the owner's system then adds a version. The first must be in
  # the future, so it follows from the day of the secret's making; later ones follow by themselves.
  rotation {
    rotation_period    = "7776000s"
    next_rotation_time = timeadd(plantimestamp(), "2160h")
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

# The age and the state of a secret, without its value.
resource "google_project_iam_custom_role" "describer" {
  role_id     = "millraceSecretStates"
  title       = "Millrace: see the age and state of secrets"
  permissions = ["secretmanager.secrets.get", "secretmanager.versions.get"]
}

resource "google_secret_manager_secret_iam_member" "describer" {
  for_each  = local.described
  secret_id = google_secret_manager_secret.secret[each.value.secret].id
  role      = google_project_iam_custom_role.describer.id
  member    = each.value.member
}
