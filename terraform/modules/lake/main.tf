# The lake: one bucket. What arrives stays; staging files and task results go after a while; each manifest is announced.
data "google_storage_project_service_account" "this" {
  project = var.project
}

resource "google_storage_bucket" "lake" {
  name                        = "${var.project}-lake"
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  lifecycle_rule {
    condition {
      age            = 14
      matches_prefix = var.temporary_prefixes
    }
    action {
      type = "Delete"
    }
  }

  # Staging files, results and pages are made again, not had back.
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 1
      with_state                 = "ARCHIVED"
      matches_prefix             = concat(var.temporary_prefixes, [var.site_prefix])
    }
    action {
      type = "Delete"
    }
  }

  # What was overwritten or deleted can be had back for a month.
  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age            = 90
      matches_prefix = [var.raw_prefix]
    }
    action {
      type          = "SetStorageClass"
      storage_class = "COLDLINE"
    }
  }

  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }
}

resource "google_pubsub_topic_iam_member" "announces" {
  topic  = var.landed_topic
  role   = "roles/pubsub.publisher"
  member = data.google_storage_project_service_account.this.member
}

resource "google_storage_notification" "landed" {
  bucket             = google_storage_bucket.lake.name
  topic              = var.landed_topic
  payload_format     = "JSON_API_V1"
  event_types        = ["OBJECT_FINALIZE"]
  object_name_prefix = var.manifests_prefix
  depends_on         = [google_pubsub_topic_iam_member.announces]
}

resource "google_storage_bucket_iam_member" "writers" {
  for_each = var.writers
  bucket   = google_storage_bucket.lake.name
  role     = "roles/storage.objectUser"
  member   = each.value
}

# The Dataflow SDK looks at the bucket before it stages the files of a job.
resource "google_storage_bucket_iam_member" "submitters" {
  for_each = var.submitters
  bucket   = google_storage_bucket.lake.name
  role     = "roles/storage.legacyBucketReader"
  member   = each.value
}

# Airbyte writes raw files and nothing else. The right to list is checked on the bucket, not on objects' names: its
# condition compares the prefix that a request asks for.
resource "google_storage_bucket_iam_member" "extractors" {
  for_each = var.extractors
  bucket   = google_storage_bucket.lake.name
  role     = "roles/storage.objectUser"
  member   = each.value

  condition {
    title       = "raw files only"
    description = "What Airbyte extracts."
    expression  = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.lake.name}/objects/${var.raw_prefix}\") || api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \"\").startsWith(\"${var.raw_prefix}\")"
  }
}

resource "google_storage_bucket_iam_member" "site_readers" {
  for_each = toset(var.site_readers)
  bucket   = google_storage_bucket.lake.name
  role     = "roles/storage.objectViewer"
  member   = each.key

  condition {
    title       = "site only"
    description = "The status page, Data Docs and dbt's documentation."
    expression  = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.lake.name}/objects/${var.site_prefix}\") || api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \"\").startsWith(\"${var.site_prefix}\")"
  }
}

resource "google_storage_bucket_iam_member" "readers" {
  for_each = toset(var.readers)
  bucket   = google_storage_bucket.lake.name
  role     = "roles/storage.objectViewer"
  member   = each.key

  condition {
    title       = "raw files only"
    description = "What data scientists read."
    expression  = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.lake.name}/objects/${var.raw_prefix}\") || api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \"\").startsWith(\"${var.raw_prefix}\")"
  }
}
