# Log-based metrics, alert policies, objectives per stream, the dashboard and the way to people. What is measured and
# when it alerts is in millrace/observability/alerts.yaml, which tests read as well.
locals {
  told = yamldecode(file(var.alerts_file))
  # Our pods, Cloud Run jobs and Dataflow workers, not others of the project.
  scope    = "(resource.type=\"k8s_container\" AND resource.labels.namespace_name=(\"millrace\" OR \"millrace-flows\")) OR resource.type=\"cloud_run_job\" OR resource.type=\"dataflow_step\""
  ours     = { for alert in local.told.alerts : alert.name => alert if can(alert.metric) }
  googles  = { for alert in local.told.alerts : alert.name => alert if can(alert.google) }
  absences = { for alert in local.told.absences : alert.name => alert }
  objectives = merge([
    for stream, seconds in var.freshness_s : {
      for kind, objective in local.told.objectives : "${stream}/${kind}" => merge(objective, { stream = stream, kind = kind })
    }
  ]...)
  burns = merge([
    for key, objective in local.objectives : {
      for speed, burn in local.told.burns : "${key}/${speed}" => merge(burn, { objective = key, speed = speed, runbook = objective.runbook })
    }
  ]...)
  channels = concat(google_monitoring_notification_channel.email[*].id, data.google_monitoring_notification_channel.slack[*].name)
}

resource "google_monitoring_notification_channel" "email" {
  count        = var.alert_email == "" ? 0 : 1
  display_name = "Millrace: mail"
  type         = "email"
  labels       = { email_address = var.alert_email }
}

data "google_monitoring_notification_channel" "slack" {
  count        = var.slack_channel == "" ? 0 : 1
  display_name = var.slack_channel
  type         = "slack"
}

resource "google_logging_metric" "told" {
  for_each    = local.told.metrics
  name        = "millrace/${each.key}"
  description = each.value.description
  filter      = "(${local.scope}) AND ${each.value.filter}"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }

  label_extractors = each.value.labels
}

# Cloud Monitoring knows a metric up to ten minutes after Cloud Logging made it, and until then refuses a policy or an
# objective of it: https://github.com/hashicorp/terraform-provider-google/issues/11102
resource "time_sleep" "metrics" {
  create_duration = "600s"
  triggers        = { metrics = join(",", [for metric in google_logging_metric.told : metric.name]) }
}

resource "google_monitoring_alert_policy" "ours" {
  for_each              = local.ours
  display_name          = "Millrace: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  enabled               = var.alerting
  notification_channels = local.channels

  # A condition names one type of resource.
  dynamic "conditions" {
    for_each = ["k8s_container", "cloud_run_job", "dataflow_step"]
    content {
      display_name = "${each.key} (${conditions.value})"

      condition_threshold {
        filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.told[each.value.metric].name}\" AND resource.type=\"${conditions.value}\""
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.above
        duration        = "0s"

        aggregations {
          alignment_period     = "${each.value.window_s}s"
          per_series_aligner   = "ALIGN_DELTA"
          cross_series_reducer = "REDUCE_SUM"
          group_by_fields      = [for label in keys(local.told.metrics[each.value.metric].labels) : "metric.label.${label}"]
        }
      }
    }
  }

  documentation {
    content   = "${local.told.metrics[each.value.metric].description} What to do: docs/operations/alerts.md#${each.value.runbook}"
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "86400s"
  }

  depends_on = [time_sleep.metrics]
}

resource "google_monitoring_alert_policy" "googles" {
  for_each              = local.googles
  display_name          = "Millrace: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  enabled               = var.alerting
  notification_channels = local.channels

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = join(" AND ", compact(["metric.type=\"${each.value.google}\"", "resource.type=\"${each.value.resource}\"", each.value.where]))
      comparison      = can(each.value.below) ? "COMPARISON_LT" : "COMPARISON_GT"
      threshold_value = try(each.value.below, each.value.above)
      duration        = "0s"

      aggregations {
        alignment_period     = "${each.value.window_s}s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
        group_by_fields      = each.value.group_by
      }
    }
  }

  documentation {
    content   = "What to do: docs/operations/alerts.md#${each.value.runbook}"
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "86400s"
  }
}

resource "google_monitoring_alert_policy" "absences" {
  for_each              = local.absences
  display_name          = "Millrace: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  enabled               = var.alerting
  notification_channels = local.channels

  conditions {
    display_name = each.key

    condition_absent {
      filter   = can(each.value.metric) ? "metric.type=\"logging.googleapis.com/user/${google_logging_metric.told[each.value.metric].name}\" AND resource.type=\"k8s_container\"" : "metric.type=\"${each.value.google}\" AND resource.type=\"${each.value.resource}\" AND ${each.value.where}"
      duration = "${each.value.silent_s}s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = try(each.value.aligner, "ALIGN_DELTA")
        cross_series_reducer = try(each.value.reducer, "REDUCE_SUM")
      }
    }
  }

  documentation {
    content   = "Nothing was heard of it for ${each.value.silent_s} s. What to do: docs/operations/alerts.md#${each.value.runbook}"
    mime_type = "text/markdown"
  }

  depends_on = [time_sleep.metrics]
}

resource "google_monitoring_custom_service" "stream" {
  for_each     = var.freshness_s
  service_id   = "millrace-${replace(replace(each.key, ".", "-"), "_", "-")}"
  display_name = "Millrace: ${each.key}"
}

resource "google_monitoring_slo" "stream" {
  for_each            = local.objectives
  service             = google_monitoring_custom_service.stream[each.value.stream].service_id
  slo_id              = each.value.kind
  display_name        = "${each.value.kind} of ${each.value.stream}"
  goal                = each.value.goal
  rolling_period_days = 28

  request_based_sli {
    good_total_ratio {
      good_service_filter  = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.told[each.value.good].name}\" AND resource.type=\"k8s_container\" AND metric.label.stream=\"${each.value.stream}\""
      total_service_filter = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.told[each.value.total].name}\" AND resource.type=\"k8s_container\" AND metric.label.stream=\"${each.value.stream}\""
    }
  }

  depends_on = [time_sleep.metrics]
}

resource "google_monitoring_alert_policy" "burns" {
  for_each              = local.burns
  display_name          = "Millrace: an objective burns (${each.key})"
  combiner              = "OR"
  severity              = each.value.severity
  enabled               = var.alerting
  notification_channels = local.channels

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = "select_slo_burn_rate(\"${google_monitoring_slo.stream[each.value.objective].name}\", \"${each.value.window_s}s\")"
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.rate
      duration        = "0s"
    }
  }

  documentation {
    content   = "What to do: docs/operations/alerts.md#${each.value.runbook}"
    mime_type = "text/markdown"
  }
}

# From outside: name, certificate, load balancer and gateway. A GET of a push is refused (405), and nobody else does so.
resource "google_monitoring_uptime_check_config" "gateway" {
  display_name = "Millrace: gateway"
  timeout      = "10s"
  period       = "60s"

  http_check {
    path         = "/push/lake-landed"
    port         = 443
    use_ssl      = true
    validate_ssl = true

    accepted_response_status_codes {
      status_value = 405
    }
  }

  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project, host = var.domain }
  }
}

resource "google_monitoring_alert_policy" "gateway_down" {
  display_name          = "Millrace: the gateway can't be reached"
  combiner              = "OR"
  severity              = "CRITICAL"
  enabled               = var.alerting
  notification_channels = local.channels

  conditions {
    display_name = "uptime check fails"

    condition_threshold {
      filter          = "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type=\"uptime_url\" AND metric.label.check_id=\"${google_monitoring_uptime_check_config.gateway.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "300s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }

  documentation {
    content   = "What to do: docs/operations/alerts.md#cloud-the-gateway-cant-be-reached"
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_dashboard" "platform" {
  dashboard_json = file(var.dashboard_file)
}
