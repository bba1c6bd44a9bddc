"""What carries events: topics, subscriptions, and the notification of the lake's bucket."""

from collections.abc import Iterator
from typing import Any

import grpc
from google.api_core.exceptions import NotFound
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from cli.checks.finding import Finding, Patient, good, wrong
from millrace.domain import names
from millrace.settings import Settings

TIMEOUT_S = 10.0


def topics(patient: Patient) -> Iterator[Finding]:
    """Every topic with its dead-letter topic."""
    settings, mend = patient.settings, patient.mend("resources")
    client = PublisherClient(transport=_publishing(settings))
    wanted = [name for topic in names.TOPICS for name in (topic, names.dead_letter_topic(topic))]
    missing = [name for name in wanted if not _has(client.get_topic, topic=_path(settings, "topics", name))]
    for name in missing:
        yield wrong("topics", f"project {settings.events.project} has no topic {name}", mend)
    if not missing:
        yield good("topics", f"{len(wanted)} topics are there")


def subscriptions(patient: Patient) -> Iterator[Finding]:
    """Of every topic: the subscription through which the gateway hears of it, and the one that keeps dead letters."""
    settings, mend = patient.settings, patient.mend("resources")
    client = SubscriberClient(transport=_subscribing(settings))
    problems = [why for topic in names.TOPICS for why in _of_topic(client, settings, topic)]
    for why in problems:
        yield wrong("subscriptions", why, mend)
    if not problems:
        yield good("subscriptions", f"{2 * len(names.TOPICS)} subscriptions are there and lead to the gateway")


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
        yield f"subscription {pushes} hears of nothing: it was detached, or {topic} was made anew"
    address, there = f"{settings.gateway.audience}/{topic}", push.push_config.push_endpoint or "nowhere"
    if there != address:
        yield f"subscription {pushes} pushes to {there}, and the gateway is at {address}"


def notification(patient: Patient) -> Iterator[Finding]:
    """The bucket is there, and announces each manifest on its topic."""
    from millrace.lake.gcs import GcsLake

    lake, mend = patient.settings.lake, patient.mend("resources")
    try:
        announced = GcsLake(lake.url, lake.endpoint).announced()
    except NotFound:
        yield wrong("notifications", f"there is no bucket {lake.url}", mend)
        return
    if (names.LAKE_LANDED, names.MANIFESTS) in announced:
        yield good("notifications", f"{lake.url} announces {names.MANIFESTS} on {names.LAKE_LANDED}")
    else:
        told = f"{lake.url} does not announce {names.MANIFESTS} on {names.LAKE_LANDED}: landings start no merge"
        yield wrong("notifications", told, mend)


def _has(get: Any, **request: str) -> Any:
    """What is there under a name; None when nothing is."""
    try:
        return get(request=request, timeout=TIMEOUT_S)
    except NotFound:
        return None


def _path(settings: Settings, kind: str, name: str) -> str:
    return f"projects/{settings.events.project}/{kind}/{name}"


def _publishing(settings: Settings) -> PublisherGrpcTransport | None:
    endpoint = settings.events.endpoint
    return PublisherGrpcTransport(channel=grpc.insecure_channel(endpoint)) if endpoint else None


def _subscribing(settings: Settings) -> SubscriberGrpcTransport | None:
    endpoint = settings.events.endpoint
    return SubscriberGrpcTransport(channel=grpc.insecure_channel(endpoint)) if endpoint else None
