# One VPC without public addresses: nodes, Dataflow workers and Cloud Run reach the internet through NAT only.
resource "google_compute_network" "main" {
  name                    = "millrace"
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "main" {
  name                     = "millrace"
  network                  = google_compute_network.main.id
  region                   = var.region
  ip_cidr_range            = "10.20.0.0/20"
  private_ip_google_access = true

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = "10.24.0.0/14"
  }

  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = "10.28.0.0/20"
  }

  log_config {
    aggregation_interval = "INTERVAL_5_SEC"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "main" {
  name    = "millrace"
  region  = var.region
  network = google_compute_network.main.id
}

resource "google_compute_router_nat" "main" {
  name                               = "millrace"
  router                             = google_compute_router.main.name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# Dataflow's workers shuffle among themselves: https://cloud.google.com/dataflow/docs/guides/routes-firewall
resource "google_compute_firewall" "dataflow" {
  name        = "millrace-dataflow"
  network     = google_compute_network.main.id
  description = "Dataflow workers among themselves."
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

# Where Cloud SQL has its private addresses.
resource "google_compute_global_address" "services" {
  name          = "millrace-services"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  address       = "10.30.0.0"
  prefix_length = 20
  network       = google_compute_network.main.id
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.main.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}

resource "google_compute_global_address" "gateway" {
  name = "millrace-gateway"
}

resource "google_compute_ssl_policy" "main" {
  name            = "millrace"
  profile         = "RESTRICTED"
  min_tls_version = "TLS_1_2"
}

# Prefect's API inside the VPC, for runs on Cloud Run.
resource "google_compute_address" "prefect" {
  name         = "millrace-prefect"
  region       = var.region
  subnetwork   = google_compute_subnetwork.main.id
  address_type = "INTERNAL"
  purpose      = "SHARED_LOADBALANCER_VIP"
}

resource "google_dns_managed_zone" "internal" {
  name        = "millrace-internal"
  dns_name    = "millrace.internal."
  description = "Names of the platform inside the VPC."
  visibility  = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.main.id
    }
  }
}

resource "google_dns_record_set" "prefect" {
  name         = "prefect.millrace.internal."
  managed_zone = google_dns_managed_zone.internal.name
  type         = "A"
  ttl          = 300
  rrdatas      = [google_compute_address.prefect.address]
}
