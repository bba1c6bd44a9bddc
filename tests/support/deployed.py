"""Makes in a local project what Terraform makes in a real one, so that the kit finds a whole deployment."""

from datetime import timedelta
from typing import Any

from google.pubsub_v1.types import Subscription, Topic

from tests.cloud.checks.events import seconds
from tests.cloud.checks.lake import rule_of
from tests.cloud.clients import Clients
from tests.cloud.discovery import Json
from tests.cloud.expected import Expected, expected_of
from tests.support.google_project import NUMBER, Cloud

DOMAIN = "gateway.example.com"


def deploy(cloud: Cloud) -> Expected:
    """Make everything; return what the kit expects."""
    expected = expected_of(cloud.target, NUMBER, DOMAIN)
    cloud.google.deploy(expected)
    clients = Clients(cloud.target)
    for wants in expected.resources["buckets"].values():
        clients.rest("storage", "POST", "/storage/v1/b", bucket_of(wants), project=cloud.target.project)
    for wants in expected.resources["topics"].values():
        retention = timedelta(seconds=seconds(wants["message_retention_duration"]))
        topic = Topic(name=clients.path("topics", wants["name"]), message_retention_duration=retention)
        clients.publisher.create_topic(request=topic)
    for wants in expected.resources["subscriptions"].values():
        clients.subscriber.create_subscription(request=subscription_of(clients, wants))
    for name, wants in expected.resources["notifications"].items():
        config = {key: wants[key] for key in ("event_types", "object_name_prefix", "payload_format")}
        body = config | {"topic": f"//pubsub.googleapis.com/{wants['topic']}"}
        clients.rest("storage", "POST", f"/storage/v1/b/{name}/notificationConfigs", body)
    for name in expected.names("secrets"):
        parent = f"projects/{cloud.target.project}"
        created = clients.secrets.create_secret(
            parent=parent, secret_id=name, secret={"replication": {"automatic": {}}}
        )
        clients.secrets.add_secret_version(parent=created.name, payload={"data": b"a secret value"})
    return expected


def bucket_of(wants: Json) -> Json:
    """Return a bucket's resource as the API takes it."""
    access = {"uniformBucketLevelAccess": {"enabled": wants["uniform_bucket_level_access"]}}
    access["publicAccessPrevention"] = wants["public_access_prevention"]
    body: Json = {"name": wants["name"], "location": wants["location"], "iamConfiguration": access}
    body["lifecycle"] = {"rule": [rule_of(rule) for rule in wants.get("lifecycle_rule", [])]}
    if wants.get("versioning"):
        body["versioning"] = {"enabled": True}
    if soft := wants.get("soft_delete_policy"):
        body["softDeletePolicy"] = {"retentionDurationSeconds": str(soft[0]["retention_duration_seconds"])}
    return body


def subscription_of(clients: Clients, wants: Json) -> Subscription:
    """Return a subscription as the API takes it."""
    own: dict[str, Any] = {"name": clients.path("subscriptions", wants["name"]), "topic": wants["topic"]}
    own["ack_deadline_seconds"] = wants["ack_deadline_seconds"]
    own["message_retention_duration"] = timedelta(seconds=seconds(wants["message_retention_duration"]))
    own["expiration_policy"] = {}
    if config := wants.get("push_config"):
        token = config[0]["oidc_token"][0]
        own["push_config"] = {"push_endpoint": config[0]["push_endpoint"], "oidc_token": token}
    if retry := wants.get("retry_policy"):
        own["retry_policy"] = {key: timedelta(seconds=seconds(text)) for key, text in retry[0].items()}
    if dead := wants.get("dead_letter_policy"):
        own["dead_letter_policy"] = dead[0]
    return Subscription(**own)
