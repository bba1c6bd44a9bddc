"""A request that creates a resource in; the same with the run's label and an end of its life out."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cloud.discovery import Json
from tests.cloud.names import EXPIRY_S, LABEL

AGE = {"action": {"type": "Delete"}, "condition": {"age": 1}}
RETENTION_S = 3600


def stamped(method: str, body: Json, run: str, location: str, query_bytes: int) -> Json:
    """Return the JSON body of a request with label and expiry; other requests' bodies as they are."""
    label = {LABEL: run}
    if method == "storage.buckets.insert":
        access = {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
        rules = [*(body.get("lifecycle") or {}).get("rule", []), AGE]
        own = {"iamConfiguration": access, "softDeletePolicy": {"retentionDurationSeconds": "0"}}
        own |= {"lifecycle": {"rule": rules}, "labels": (body.get("labels") or {}) | label}
        return {"location": location} | body | own
    if method == "bigquery.datasets.insert":
        expiry = {"defaultTableExpirationMs": str(EXPIRY_S * 1000)}
        return expiry | body | {"labels": (body.get("labels") or {}) | label}
    if method == "bigquery.jobs.insert":
        return body | {"configuration": _job(body.get("configuration") or {}, label, query_bytes)}
    if method == "bigquery.jobs.query":
        return _query(body, query_bytes) | {"labels": (body.get("labels") or {}) | label}
    if method == "dataflow.projects.locations.jobs.create":
        return body | {"labels": (body.get("labels") or {}) | label}
    return body


def _job(configuration: Json, label: dict[str, str], query_bytes: int) -> Json:
    labelled = configuration | {"labels": (configuration.get("labels") or {}) | label}
    if "query" in configuration:
        labelled["query"] = _query(configuration["query"], query_bytes)
    return labelled


def _query(query: Json, query_bytes: int) -> Json:
    own = int(query.get("maximumBytesBilled") or query_bytes)
    return query | {"maximumBytesBilled": str(min(own, query_bytes))}


def stamp_message(method: str, message: Any, run: str) -> None:
    """Add label and expiry to a protobuf message that creates a resource."""
    if method == "pubsub.Publisher.CreateTopic":
        message.labels[LABEL] = run
    elif method == "pubsub.Subscriber.CreateSubscription":
        message.labels[LABEL] = run
        if not message.HasField("message_retention_duration"):
            message.message_retention_duration.FromSeconds(RETENTION_S)
        lifetime_s = max(EXPIRY_S, message.message_retention_duration.seconds)  # a subscription outlives its messages
        message.expiration_policy.ttl.FromSeconds(lifetime_s)
    elif method == "secretmanager.SecretManagerService.CreateSecret":
        message.secret.labels[LABEL] = run
        if not message.secret.WhichOneof("expiration"):
            message.secret.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=EXPIRY_S))
    elif method == "dataflow.JobsV1Beta3.CreateJob":
        message.job.labels[LABEL] = run
