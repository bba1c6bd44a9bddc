# The Google Cloud resources of the platform, a module per concern. Names come from the code (names.auto.tfvars.json),
# alerts from millrace/observability/alerts.yaml; no value of a secret is here or in the state.

locals {
  accounts = module.identities.emails
  modellers = concat(
    ["serviceAccount:${local.accounts["dbt"]}"],
    var.model_in_cluster ? ["serviceAccount:${local.accounts["flow"]}"] : [],
  )
}

module "services" {
  source  = "./modules/services"
  project = var.project
}

module "network" {
  source     = "./modules/network"
  region     = var.region
  depends_on = [module.services]
}

module "identities" {
  source           = "./modules/identities"
  project          = var.project
  service_accounts = var.service_accounts
  pubsub_agent     = module.services.agents["pubsub"]
  # Kubernetes accounts ("namespace/name") that act as a service account.
  workload_identities = {
    "millrace-flows/flow"       = "flow"
    "millrace/worker-cloud-run" = "worker"
    "millrace/gateway"          = "gateway"
    "millrace/secrets"          = "secrets"
    "millrace-flows/secrets"    = "secrets"
  }
  depends_on = [module.services, module.cluster]
}

module "cluster" {
  source              = "./modules/cluster"
  project             = var.project
  region              = var.region
  network             = module.network.network
  subnetwork          = module.network.subnetwork
  operators           = var.operators
  deletion_protection = var.deletion_protection
  depends_on          = [module.services]
}

module "registry" {
  source  = "./modules/registry"
  project = var.project
  region  = var.region
  readers = {
    nodes    = "serviceAccount:${module.cluster.node_account}"
    dataflow = "serviceAccount:${local.accounts["dataflow"]}"
  }
  writers    = { ci = "serviceAccount:${local.accounts["ci"]}" }
  depends_on = [module.services]
}

module "lake" {
  source              = "./modules/lake"
  project             = var.project
  location            = var.location
  landed_topic        = module.events.topic_ids[var.landed_topic]
  manifests_prefix    = var.manifests_prefix
  raw_prefix          = var.raw_prefix
  temporary_prefixes  = var.temporary_prefixes
  deletion_protection = var.deletion_protection
  submitters          = { flow = "serviceAccount:${local.accounts["flow"]}" }
  writers             = { for role in ["flow", "dataflow", "dbt"] : role => "serviceAccount:${local.accounts[role]}" }
  extractors          = { airbyte = "serviceAccount:${local.accounts["airbyte"]}" }
  readers             = var.scientists
  site_prefix         = var.site_prefix
  site_readers        = distinct(concat(var.scientists, var.analysts))
  depends_on          = [module.services]
}

module "events" {
  source       = "./modules/events"
  agent        = module.services.agents["pubsub"]
  topics       = var.topics
  push_account = local.accounts["push"]
  gateway_url  = "https://${var.domain}/push"
  publishers = merge(
    { for topic in keys(var.topics) : "${topic}/flow" => { topic = topic, member = "serviceAccount:${local.accounts["flow"]}" } },
    { for topic in var.published_topics : "${topic}/dbt" => { topic = topic, member = "serviceAccount:${local.accounts["dbt"]}" } },
    { "${var.completed_topic}/gateway" = { topic = var.completed_topic, member = "serviceAccount:${local.accounts["gateway"]}" } },
  )
  redriver   = "serviceAccount:${local.accounts["flow"]}"
  depends_on = [module.services]
}

module "secrets" {
  source        = "./modules/secrets"
  agent         = module.services.agents["secretmanager"]
  rotated_topic = module.events.topic_ids[var.rotated_topic]
  secrets       = var.secrets
  readers = {
    prefect     = { secrets = "serviceAccount:${local.accounts["secrets"]}" }
    prefect_api = { for role in ["secrets", "dbt"] : role => "serviceAccount:${local.accounts[role]}" }
    flow        = { flow = "serviceAccount:${local.accounts["flow"]}" }
    airbyte     = { flow = "serviceAccount:${local.accounts["flow"]}" } # `connections` sends their values to Airbyte
    slack       = { flow = "serviceAccount:${local.accounts["flow"]}" }
    gateway     = { gateway = "serviceAccount:${local.accounts["gateway"]}" }
  }
  describers = { flow = "serviceAccount:${local.accounts["flow"]}" }
  depends_on = [module.services]
}

module "warehouse" {
  source              = "./modules/warehouse"
  project             = var.project
  location            = var.location
  raw_datasets        = var.raw_datasets
  platform_datasets   = var.platform_datasets
  mergers             = ["serviceAccount:${local.accounts["flow"]}"]
  modellers           = local.modellers
  scientists          = var.scientists
  analysts            = var.analysts
  deletion_protection = var.deletion_protection
  depends_on          = [module.services]
}

module "airbyte" {
  source              = "./modules/airbyte"
  project             = var.project
  location            = var.location
  writer              = "serviceAccount:${local.accounts["airbyte"]}"
  deletion_protection = var.deletion_protection
  depends_on          = [module.services]
}

module "database" {
  source              = "./modules/database"
  region              = var.region
  network             = module.network.network_id
  tier                = var.database_tier
  deletion_protection = var.deletion_protection
  depends_on          = [module.network]
}

module "observability" {
  source         = "./modules/observability"
  project        = var.project
  alerts_file    = "${path.root}/../millrace/observability/alerts.yaml"
  dashboard_file = "${path.root}/../millrace/observability/dashboard.json"
  domain         = var.domain
  slack_channel  = var.slack_channel
  alert_email    = var.alert_email
  freshness_s    = var.freshness_s
  alerting       = var.alerting
  depends_on     = [module.services]
}

module "budget" {
  count           = var.billing_account == "" ? 0 : 1
  source          = "./modules/budget"
  project         = var.project
  billing_account = var.billing_account
  amount          = var.monthly_budget
  channels        = module.observability.channels
  depends_on      = [module.services]
}

module "ci" {
  count      = var.github_repository == "" ? 0 : 1
  source     = "./modules/ci"
  repository = var.github_repository
  account_id = module.identities.ids["ci"]
  depends_on = [module.services]
}
