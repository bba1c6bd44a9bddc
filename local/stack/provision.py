"""Creates what Terraform creates on Google Cloud: bucket, topics, subscriptions, notification, secrets. Idempotent.

`python -m local.stack.provision` runs in the environment of a stack whose servers answer, and also creates the
database of the demo, in the project that has it.
"""

import contextlib
import os
from pathlib import Path

from google.api_core.exceptions import AlreadyExists, Conflict, FailedPrecondition, NotFound
from google.cloud import storage
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import DeadLetterPolicy, PushConfig, RetryPolicy, Subscription

from local.demo import source
from local.stack.credentials import load_credentials
from local.stack.local_stack import BUCKET, PROJECT, PUSH_ACCOUNT, LocalStack, load_stack
from millrace.access import channel
from millrace.access import credentials as identity
from millrace.domain import names

ACK_DEADLINE_S = 60
MAX_ATTEMPTS = 10
BACKOFF_S = (1, 30)


def provision(stack: LocalStack, credentials: dict[str, str]) -> None:
    """Create every resource that the platform needs; existing ones stay as they are."""
    add_secrets(stack, credentials)
    add_topics(stack)
    add_bucket(stack)


def add_secrets(stack: LocalStack, credentials: dict[str, str]) -> None:
    """Add a version to each secret that has none, or whose Slack URL points to another port."""
    own = channel(stack.grpc("secrets"))
    client = SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=own))
    values = {name: value for name, value in credentials.items() if name != "slack-token"}
    values["slack-webhook-url"] = f"{stack.http('slack')}/services/{credentials['slack-token']}"
    for name, value in values.items():
        parent = f"projects/{PROJECT}"
        with contextlib.suppress(AlreadyExists):
            client.create_secret(parent=parent, secret_id=name, secret={"replication": {"automatic": {}}})
        moved = name == "slack-webhook-url" and _has_former_port(_newest(client, f"{parent}/secrets/{name}"), value)
        if moved or not list(client.list_secret_versions(parent=f"{parent}/secrets/{name}")):
            client.add_secret_version(parent=f"{parent}/secrets/{name}", payload={"data": value.encode()})
    own.close()


def _newest(client: SecretManagerServiceClient, secret: str) -> str:
    try:
        return str(client.access_secret_version(name=f"{secret}/versions/latest").payload.data.decode())
    except (NotFound, FailedPrecondition):  # it has no version, or an administrator disabled it
        return ""


def _has_former_port(url: str, current: str) -> bool:
    """Return True for the inbox's URL with a port it had before; a URL that an administrator set is left alone."""
    path = current.split("/services/")[1]
    return url != current and url.startswith("http://127.0.0.1:") and url.endswith(f"/services/{path}")


def add_topics(stack: LocalStack) -> None:
    """Create for each event a topic, its dead-letter topic and a push subscription to the gateway."""
    own = channel(stack.grpc("pubsub"))
    publisher = PublisherClient(transport=PublisherGrpcTransport(channel=own))
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=own))
    for topic in names.TOPICS:
        dead = names.dead_letter_topic(topic)
        for name in (topic, dead):
            with contextlib.suppress(AlreadyExists):
                publisher.create_topic(name=_topic(name))
        keep = Subscription(name=_subscription(names.dead_letter_subscription(topic)), topic=_topic(dead))
        for subscription in (keep, push_subscription(stack, topic)):
            add_subscription(subscriber, subscription)
    own.close()


def add_subscription(subscriber: SubscriberClient, subscription: Subscription) -> None:
    """Create or update a subscription; one whose topic was deleted receives nothing, and is created again."""
    try:
        existing = subscriber.get_subscription(subscription=subscription.name)
    except NotFound:
        subscriber.create_subscription(request=subscription)
        return
    if existing.topic != subscription.topic:
        subscriber.delete_subscription(subscription=subscription.name)
        subscriber.create_subscription(request=subscription)
    elif subscription.push_config.push_endpoint:
        mask = FieldMask(paths=["push_config", "dead_letter_policy", "retry_policy", "ack_deadline_seconds"])
        subscriber.update_subscription(subscription=subscription, update_mask=mask)


def push_subscription(stack: LocalStack, topic: str) -> Subscription:
    """Return the subscription that pushes a topic's messages to the gateway."""
    return Subscription(
        name=_subscription(names.gateway_subscription(topic)),
        topic=_topic(topic),
        ack_deadline_seconds=ACK_DEADLINE_S,
        push_config=PushConfig(
            push_endpoint=f"{stack.http('gateway')}/push/{topic}",
            oidc_token=PushConfig.OidcToken(
                service_account_email=PUSH_ACCOUNT, audience=f"{stack.http('gateway')}/push"
            ),
        ),
        retry_policy=RetryPolicy(
            minimum_backoff=Duration(seconds=BACKOFF_S[0]), maximum_backoff=Duration(seconds=BACKOFF_S[1])
        ),
        dead_letter_policy=DeadLetterPolicy(
            dead_letter_topic=_topic(names.dead_letter_topic(topic)), max_delivery_attempts=MAX_ATTEMPTS
        ),
    )


def add_bucket(stack: LocalStack) -> None:
    """Create the lake's bucket, with a notification on `lake-landed` for each manifest."""
    endpoint = stack.http("storage")
    client = storage.Client(PROJECT, credentials=identity(endpoint), client_options={"api_endpoint": endpoint})
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
    """Create everything that is missing."""
    stack = load_stack(Path(os.environ["MILLRACE_STATE"]))
    credentials = load_credentials(stack)
    provision(stack, credentials)
    source.provision(stack.state, credentials)


if __name__ == "__main__":
    main()
