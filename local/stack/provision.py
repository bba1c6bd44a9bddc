"""Makes what Terraform makes on Google Cloud: bucket, topics, subscriptions, notification, secrets. Idempotent.

`python -m local.stack.provision`, in the environment of a stack whose servers answer; also makes the demo's database.
"""

import contextlib
import os
from pathlib import Path

import grpc
from google.api_core.exceptions import AlreadyExists, Conflict, FailedPrecondition, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import DeadLetterPolicy, PushConfig, RetryPolicy, Subscription

from local.demo.airport_ops.replay import create
from local.stack.credentials import load_credentials
from local.stack.place import BUCKET, PROJECT, PUSH_ACCOUNT, Place, load_place
from millrace.domain import names

ACK_DEADLINE_S = 60
MAX_ATTEMPTS = 10
BACKOFF_S = (1, 30)


def provision(place: Place, credentials: dict[str, str]) -> None:
    """Make everything that the platform expects to find; leaves alone what is there."""
    add_secrets(place, credentials)
    add_topics(place)
    add_bucket(place)


def add_secrets(place: Place, credentials: dict[str, str]) -> None:
    """Add a version to each secret that has none, or whose Slack URL points to another port."""
    channel = grpc.insecure_channel(place.grpc("secrets"))
    client = SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
    values = {name: value for name, value in credentials.items() if name != "slack-token"}
    values["slack-webhook-url"] = f"{place.http('slack')}/services/{credentials['slack-token']}"
    for name, value in values.items():
        parent = f"projects/{PROJECT}"
        with contextlib.suppress(AlreadyExists):
            client.create_secret(parent=parent, secret_id=name, secret={"replication": {"automatic": {}}})
        moved = name == "slack-webhook-url" and _is_ours_but_moved(_newest(client, f"{parent}/secrets/{name}"), value)
        if moved or not list(client.list_secret_versions(parent=f"{parent}/secrets/{name}")):
            client.add_secret_version(parent=f"{parent}/secrets/{name}", payload={"data": value.encode()})
    channel.close()


def _newest(client: SecretManagerServiceClient, secret: str) -> str:
    try:
        return str(client.access_secret_version(name=f"{secret}/versions/latest").payload.data.decode())
    except (NotFound, FailedPrecondition):  # none, or disabled: a person's doing
        return ""


def _is_ours_but_moved(there: str, wanted: str) -> bool:
    """Whether a URL names our inbox at a port it had before; a URL that a person set is left alone."""
    path = wanted.split("/services/")[1]
    return there != wanted and there.startswith("http://127.0.0.1:") and there.endswith(f"/services/{path}")


def add_topics(place: Place) -> None:
    """A topic, its dead-letter topic, and a push subscription to the gateway for each event."""
    channel = grpc.insecure_channel(place.grpc("pubsub"))
    publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    for topic in names.TOPICS:
        dead = names.dead_letter_topic(topic)
        for name in (topic, dead):
            with contextlib.suppress(AlreadyExists):
                publisher.create_topic(name=_topic(name))
        keep = Subscription(name=_subscription(names.dead_letter_subscription(topic)), topic=_topic(dead))
        for wanted in (keep, push_subscription(place, topic)):
            add_subscription(subscriber, wanted)
    channel.close()


def add_subscription(subscriber: SubscriberClient, wanted: Subscription) -> None:
    """Make a subscription, or bring it to what is wanted; one of a topic that was deleted hears nothing any more."""
    try:
        there = subscriber.get_subscription(subscription=wanted.name)
    except NotFound:
        subscriber.create_subscription(request=wanted)
        return
    if there.topic != wanted.topic:
        subscriber.delete_subscription(subscription=wanted.name)
        subscriber.create_subscription(request=wanted)
    elif wanted.push_config.push_endpoint:
        mask = FieldMask(paths=["push_config", "dead_letter_policy", "retry_policy", "ack_deadline_seconds"])
        subscriber.update_subscription(subscription=wanted, update_mask=mask)


def push_subscription(place: Place, topic: str) -> Subscription:
    """The subscription through which the gateway hears of a topic."""
    return Subscription(
        name=_subscription(names.gateway_subscription(topic)),
        topic=_topic(topic),
        ack_deadline_seconds=ACK_DEADLINE_S,
        push_config=PushConfig(
            push_endpoint=f"{place.http('gateway')}/push/{topic}",
            oidc_token=PushConfig.OidcToken(
                service_account_email=PUSH_ACCOUNT, audience=f"{place.http('gateway')}/push"
            ),
        ),
        retry_policy=RetryPolicy(
            minimum_backoff=Duration(seconds=BACKOFF_S[0]), maximum_backoff=Duration(seconds=BACKOFF_S[1])
        ),
        dead_letter_policy=DeadLetterPolicy(
            dead_letter_topic=_topic(names.dead_letter_topic(topic)), max_delivery_attempts=MAX_ATTEMPTS
        ),
    )


def add_bucket(place: Place) -> None:
    """The lake's bucket; it announces each manifest on `lake-landed`."""
    client = storage.Client(
        project=PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": place.http("storage")}
    )
    bucket = client.bucket(BUCKET)
    with contextlib.suppress(Conflict):
        bucket.create()
    if not any(n.topic_name == names.LAKE_LANDED for n in bucket.list_notifications()):
        bucket.notification(
            names.LAKE_LANDED,
            topic_project=PROJECT,
            event_types=["OBJECT_FINALIZE"],
            blob_name_prefix=names.MANIFESTS,
            payload_format="JSON_API_V1",
        ).create()


def _topic(name: str) -> str:
    return f"projects/{PROJECT}/topics/{name}"


def _subscription(name: str) -> str:
    return f"projects/{PROJECT}/subscriptions/{name}"


def main() -> None:
    """Make everything that is missing."""
    place = load_place(Path(os.environ["MILLRACE_STATE"]))
    credentials = load_credentials(place)
    provision(place, credentials)
    if not place.database.exists():
        create(place.database, credentials["airport-ops-password"])


if __name__ == "__main__":
    main()
