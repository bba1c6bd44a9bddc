"""Checks of topics and subscriptions: settings, addresses of pushes and their identity, dead letters, rights."""

from collections.abc import Iterator
from typing import Any

from tests.cloud.checks.check import Check, Project, Unknown, differences
from tests.cloud.checks.rights import rights_check
from tests.cloud.discovery import Json
from tests.cloud.expected import Expected

AREA = "events"
TIMEOUT_S = 20


def _topic(name: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        topic = project.clients.publisher.get_topic(topic=project.clients.path("topics", name), timeout=TIMEOUT_S)
        wants = project.expected.resources["topics"][name]
        retention = int(topic.message_retention_duration.total_seconds())
        yield from differences({"retention in seconds": (seconds(wants.get("message_retention_duration")), retention)})

    return Check(AREA, f"topic {name}", "pubsub.Publisher.GetTopic", f"topics/{name}", look)


def _subscription(name: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        path = project.clients.path("subscriptions", name)
        has = project.clients.subscriber.get_subscription(subscription=path, timeout=TIMEOUT_S)
        wants = project.expected.resources["subscriptions"][name]
        yield from compare_subscription(wants, has)
        if wants.get("push_config") and not project.domain:
            message = "The domain of the gateway is not known, so the addresses of pushes were not compared."
            raise Unknown(message, "give it by --domain, or in terraform/terraform.tfvars")
        yield from differences(push(wants, has))

    return Check(AREA, f"subscription {name}", "pubsub.Subscriber.GetSubscription", f"subscriptions/{name}", look)


def compare_subscription(wants: Json, has: Any) -> Iterator[str]:
    """Yield a sentence for each setting of a subscription that is not Terraform's."""
    if has.detached or has.topic != wants["topic"]:
        yield f"It is not attached to {wants['topic'].rpartition('/')[2]}, whose messages it therefore does not get."
    dead = (wants.get("dead_letter_policy") or [{}])[0]
    retry = (wants.get("retry_policy") or [{}])[0]
    yield from differences(
        {
            "deadline in seconds": (wants["ack_deadline_seconds"], has.ack_deadline_seconds),
            "retention in seconds": (
                seconds(wants.get("message_retention_duration")),
                int(has.message_retention_duration.total_seconds()),
            ),
            "dead-letter topic": (dead.get("dead_letter_topic", ""), has.dead_letter_policy.dead_letter_topic),
            "number of attempts": (dead.get("max_delivery_attempts", 0), has.dead_letter_policy.max_delivery_attempts),
            "least pause in seconds": (seconds(retry.get("minimum_backoff")), _span(has.retry_policy.minimum_backoff)),
            "most pause in seconds": (seconds(retry.get("maximum_backoff")), _span(has.retry_policy.maximum_backoff)),
            "expiry in seconds": (0, _span(has.expiration_policy.ttl)),
        }
    )


def push(wants: Json, has: Any) -> dict[str, tuple[object, object]]:
    """Return the expected and the actual settings of pushes."""
    config = (wants.get("push_config") or [{}])[0]
    token, actual = (config.get("oidc_token") or [{}])[0], has.push_config
    return {
        "address of pushes": (config.get("push_endpoint", ""), actual.push_endpoint),
        "account of pushes": (token.get("service_account_email", ""), actual.oidc_token.service_account_email),
        "audience of pushes": (token.get("audience", ""), actual.oidc_token.audience),
    }


def seconds(text: str | None) -> int:
    """Return the seconds of a duration as Terraform writes it."""
    return int(float(text.removesuffix("s"))) if text else 0


def _span(duration: Any) -> int:
    return int(duration.total_seconds()) if duration else 0


def event_checks(expected: Expected) -> Iterator[Check]:
    """Yield the checks of topics and subscriptions."""
    for name in expected.names("topics"):
        yield _topic(name)
        yield rights_check(AREA, "topics", name)
    for name in expected.names("subscriptions"):
        yield _subscription(name)
        yield rights_check(AREA, "subscriptions", name)
