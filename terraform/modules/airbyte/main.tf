# What Airbyte keeps of its own: logs and outputs of its jobs. Its database is in the module `database`, the lake it
# writes to in `lake`.
resource "google_storage_bucket" "logs" {
  name                        = "${var.project}-airbyte"
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  lifecycle_rule {
    condition {
      age = 90
    }
    action {
      type = "Delete"
    }
  }
}

resource "google_storage_bucket_iam_member" "writer" {
  bucket = google_storage_bucket.logs.name
  role   = "roles/storage.objectUser"
  member = var.writer
}
