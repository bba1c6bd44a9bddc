"""Checks of topics, subscriptions and the notification of the lake's bucket."""

from collections.abc import Iterator
from typing import Any

from google.api_core.exceptions import NotFound
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from cli.checks.finding import Finding, Target, bad, good
from millrace.access import channel
from millrace.domain import names
from millrace.settings import Settings

TIMEOUT_S = 10.0


def topics(target: Target) -> Iterator[Finding]:
    """Check that every topic and its dead-letter topic exist."""
    settings, repair = target.settings, target.repair("resources")
    client = PublisherClient(transport=_publishing(settings))
    expected = [name for topic in names.TOPICS for name in (topic, names.dead_letter_topic(topic))]
    missing = [name for name in expected if not _has(client.get_topic, topic=_path(settings, "topics", name))]
    for name in missing:
        yield bad("topics", f"project {settings.events.project} has no topic {name}", repair)
    if not missing:
        yield good("topics", f"{len(expected)} topics exist")


def subscriptions(target: Target) -> Iterator[Finding]:
    """Check for every topic the subscription that leads to the gateway and the one that keeps dead letters."""
    settings, repair = target.settings, target.repair("resources")
    client = SubscriberClient(transport=_subscribing(settings))
    problems = [problem for topic in names.TOPICS for problem in _of_topic(client, settings, topic)]
    for problem in problems:
        yield bad("subscriptions", problem, repair)
    if not problems:
        yield good("subscriptions", f"{2 * len(names.TOPICS)} subscriptions exist and lead to the gateway")


def _of_topic(client: Any, settings: Settings, topic: str) -> Iterator[str]:
    def find(name: str) -> Any:
        return _has(client.get_subscription, subscription=_path(settings, "subscriptions", name))

    keeps, pushes = names.dead_letter_subscription(topic), names.gateway_subscription(topic)
    if not find(keeps):
        yield f"no subscription {keeps}: dead letters of {topic} would be lost"
    push = find(pushes)
    if push is None:
        if not find(names.pull_subscription(topic)):
            yield f"no subscription {pushes}: no message on {topic} starts anything"
        return
    if push.detached or push.topic != _path(settings, "topics", topic):
        yield f"subscription {pushes} is detached: topic {topic} was recreated"
    address, endpoint = f"{settings.gateway.audience}/{topic}", push.push_config.push_endpoint or "no endpoint"
    if endpoint != address:
        yield f"subscription {pushes} pushes to {endpoint}, and the gateway is at {address}"


def notification(target: Target) -> Iterator[Finding]:
    """Check that the bucket exists and announces each manifest on its topic."""
    from millrace.lake.gcs import GcsLake

    lake, repair = target.settings.lake, target.repair("resources")
    try:
        announced = GcsLake(lake.url, lake.endpoint).notifications()
    except NotFound:
        yield bad("notifications", f"bucket {lake.url} does not exist", repair)
        return
    if (names.LAKE_LANDED, names.MANIFESTS) in announced:
        yield good("notifications", f"{lake.url} announces {names.MANIFESTS} on {names.LAKE_LANDED}")
    else:
        message = f"{lake.url} does not announce {names.MANIFESTS} on {names.LAKE_LANDED}: landings start no merge"
        yield bad("notifications", message, repair)


def _has(get: Any, **request: str) -> Any:
    """Return the resource of a name, None when it does not exist."""
    try:
        return get(request=request, timeout=TIMEOUT_S)
    except NotFound:
        return None


def _path(settings: Settings, kind: str, name: str) -> str:
    return f"projects/{settings.events.project}/{kind}/{name}"


def _publishing(settings: Settings) -> PublisherGrpcTransport | None:
    endpoint = settings.events.endpoint
    return PublisherGrpcTransport(channel=channel(endpoint)) if endpoint else None


def _subscribing(settings: Settings) -> SubscriberGrpcTransport | None:
    endpoint = settings.events.endpoint
    return SubscriberGrpcTransport(channel=channel(endpoint)) if endpoint else None
