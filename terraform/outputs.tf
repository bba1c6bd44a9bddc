output "gateway_address" {
  description = "What the A record of `domain` must be."
  value       = module.network.gateway_address
}

output "database_host" {
  description = "Private address of Prefect's database, for the secret prefect-database-url."
  value       = module.database.prefect_host
}

output "airbyte_values" {
  description = "What Airbyte's Helm values have of this project, beside k8s/airbyte/values.yaml."
  value       = <<-EOT
    global:
      database: {host: ${module.database.airbyte_host}}
      storage:
        bucket:
          log: ${module.airbyte.bucket}
          auditLogging: ${module.airbyte.bucket}
          state: ${module.airbyte.bucket}
          workloadOutput: ${module.airbyte.bucket}
          activityPayload: ${module.airbyte.bucket}
  EOT
}

output "airbyte_account" {
  description = "Address of Airbyte's service account."
  value       = local.accounts["airbyte"]
}

output "settings_env" {
  description = "Contents of k8s/overlays/gke/settings.env for this project; the tag of the images is to be added."
  value       = <<-EOT
    MILLRACE_CONFIG=gcp
    MILLRACE_LAKE__URL=gs://${module.lake.bucket}
    MILLRACE_WAREHOUSE__URL=bigquery://${var.project}/${var.location}
    MILLRACE_WAREHOUSE__MARTS_URL=bigquery://${var.project}/marts
    MILLRACE_EVENTS__PROJECT=${var.project}
    MILLRACE_GATEWAY__AUDIENCE=https://${var.domain}/push
    MILLRACE_GATEWAY__PUSH_ACCOUNT=${local.accounts["push"]}
    MILLRACE_BEAM__DATAFLOW__REGION=${var.region}
    MILLRACE_BEAM__DATAFLOW__TEMP_LOCATION=gs://${module.lake.bucket}/_staging/dataflow
    MILLRACE_BEAM__DATAFLOW__SDK_CONTAINER_IMAGE=${module.registry.url}/beam:TAG
    MILLRACE_BEAM__DATAFLOW__SERVICE_ACCOUNT_EMAIL=${local.accounts["dataflow"]}
    MILLRACE_BEAM__DATAFLOW__SUBNETWORK=${module.network.subnetwork_url}
    MILLRACE_POOLS__IMAGE=${module.registry.url}/flows:TAG
    MILLRACE_POOLS__REGION=${var.region}
    MILLRACE_POOLS__NETWORK=${module.network.network}
    GOOGLE_CLOUD_PROJECT=${var.project}
    PREFECT_API_URL=http://prefect-server.millrace.svc:4200/api
  EOT
}
