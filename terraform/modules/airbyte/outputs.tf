output "bucket" {
  value = google_storage_bucket.logs.name
}
