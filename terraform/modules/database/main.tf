# PostgreSQL for Prefect and for Airbyte: private addresses, encrypted connections, a week of points in time. Users and
# passwords are made by hand (docs/deploy.md), so that no state holds them.
resource "google_sql_database_instance" "postgres" {
  for_each            = toset(["prefect", "airbyte"])
  name                = "millrace-${each.key}"
  region              = var.region
  database_version    = "POSTGRES_16"
  deletion_protection = var.deletion_protection

  settings {
    edition                     = "ENTERPRISE"
    tier                        = var.tier
    availability_type           = "REGIONAL"
    disk_size                   = 20
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "02:00"
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = 14
      }
    }

    maintenance_window {
      day  = 7
      hour = 3
    }

    insights_config {
      query_insights_enabled = true
    }

    dynamic "database_flags" {
      for_each = {
        log_checkpoints            = "on"
        log_connections            = "on"
        log_disconnections         = "on"
        log_lock_waits             = "on"
        log_hostname               = "on"
        log_min_duration_statement = "-1"
        log_min_messages           = "error"
        log_min_error_statement    = "error"
        "cloudsql.enable_pgaudit"  = "on"
      }
      content {
        name  = database_flags.key
        value = database_flags.value
      }
    }
  }
}

resource "google_sql_database" "database" {
  for_each = google_sql_database_instance.postgres
  name     = each.key
  instance = each.value.name
}
