# Topics. Each is pushed to the gateway with a signed token; what is refused ten times waits in its dead-letter topic.
resource "google_pubsub_topic" "event" {
  for_each                   = var.topics
  name                       = each.key
  message_retention_duration = "604800s"
}

resource "google_pubsub_topic" "dead" {
  for_each                   = var.topics
  name                       = each.value.dead_letter_topic
  message_retention_duration = "604800s"
}

resource "google_pubsub_subscription" "gateway" {
  for_each                   = var.topics
  name                       = each.value.gateway_subscription
  topic                      = google_pubsub_topic.event[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  push_config {
    push_endpoint = "${var.gateway_url}/${each.key}"

    oidc_token {
      service_account_email = var.push_account
      audience              = var.gateway_url
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead[each.key].id
    max_delivery_attempts = 10
  }

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_subscription" "dead" {
  for_each                   = var.topics
  name                       = each.value.dead_letter_subscription
  topic                      = google_pubsub_topic.dead[each.key].id
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s"
  retain_acked_messages      = false

  expiration_policy {
    ttl = ""
  }
}

# To move a message away Pub/Sub must publish it there and take it here.
resource "google_pubsub_topic_iam_member" "dead_publisher" {
  for_each = var.topics
  topic    = google_pubsub_topic.dead[each.key].id
  role     = "roles/pubsub.publisher"
  member   = var.agent
}

resource "google_pubsub_subscription_iam_member" "dead_taker" {
  for_each     = var.topics
  subscription = google_pubsub_subscription.gateway[each.key].id
  role         = "roles/pubsub.subscriber"
  member       = var.agent
}

resource "google_pubsub_subscription_iam_member" "redriver" {
  for_each     = var.topics
  subscription = google_pubsub_subscription.dead[each.key].id
  role         = "roles/pubsub.subscriber"
  member       = var.redriver
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = var.publishers
  topic    = google_pubsub_topic.event[each.value.topic].id
  role     = "roles/pubsub.publisher"
  member   = each.value.member
}
