"""The gateway in pull mode: the same events, acknowledged after Prefect has them; poison messages are dead-lettered."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, RetryPolicy, Subscription

from millrace.domain import names
from millrace.events.message import Incoming
from tests.support.clients import PROJECT, PubSub
from tests.support.gateway_process import Running, gateway
from tests.support.prefect_server import prefect_server
from tests.support.pushes import CASES, expected, landed, message
from tests.support.servers import free_port, process, server, wait_until

ATTEMPTS = 5


@dataclass
class Pulling:
    """A gateway in pull mode, and the Pub/Sub that it pulls from."""

    running: Running
    pubsub: PubSub

    def publish(self, topic: str, sent: Incoming) -> str:
        body = PubsubMessage(data=sent.data, attributes=sent.attributes)
        answer = self.pubsub.publisher.publish(topic=f"projects/{PROJECT}/topics/{topic}", messages=[body], timeout=5)
        return str(answer.message_ids[0])

    def unacknowledged(self, topic: str) -> int:
        """Return the messages that are due in a topic's subscription."""
        return len(self.pubsub.due(f"projects/{PROJECT}/subscriptions/{names.pull_subscription(topic)}"))

    def dead_letters(self, topic: str) -> list[Any]:
        name = f"projects/{PROJECT}/subscriptions/{names.dead_letter_subscription(topic)}"
        received = self.pubsub.due(name)
        if received:
            self.pubsub.ack(name, received)
        return received

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.running.prefect.events if event["event"] == name]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.running.lines() if line.get("event") == event]


def provision(pubsub: PubSub) -> None:
    """Create topics with their dead-letter topics, and pull subscriptions in place of the push subscriptions."""
    for topic in names.TOPICS:
        dead = f"projects/{PROJECT}/topics/{names.dead_letter_topic(topic)}"
        for name in (f"projects/{PROJECT}/topics/{topic}", dead):
            pubsub.publisher.create_topic(name=name)
        subscriptions = (
            Subscription(
                name=f"projects/{PROJECT}/subscriptions/{names.pull_subscription(topic)}",
                topic=f"projects/{PROJECT}/topics/{topic}",
                ack_deadline_seconds=60,
                retry_policy=RetryPolicy(minimum_backoff=Duration(), maximum_backoff=Duration(nanos=10**8)),
                dead_letter_policy=DeadLetterPolicy(dead_letter_topic=dead, max_delivery_attempts=ATTEMPTS),
            ),
            Subscription(name=f"projects/{PROJECT}/subscriptions/{names.dead_letter_subscription(topic)}", topic=dead),
        )
        for subscription in subscriptions:
            pubsub.subscriber.create_subscription(subscription)


@pytest.fixture(scope="module")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSub]:
    with server("pubsub", tmp_path_factory.mktemp("pull") / "pubsub") as port:
        client = PubSub(port)
        provision(client)
        yield client


@pytest.fixture
def pulling(pubsub: PubSub, tmp_path: Path) -> Iterator[Pulling]:
    place = {"MILLRACE_EVENTS__PROJECT": PROJECT, "MILLRACE_EVENTS__ENDPOINT": pubsub.address}
    with prefect_server(free_port()) as prefect, gateway(tmp_path, prefect, "-", tmp_path, "pull", **place) as running:
        yield Pulling(running, pubsub)
        prefect.hold.set()


def test_pulled_messages_equal_pushed_events(pulling: Pulling) -> None:
    for topic, sent, *_ in CASES:
        pulling.publish(topic, sent)
    wait_until(lambda: len(pulling.running.prefect.events) == len(CASES), "all events are at Prefect", 20)
    events = [{**event, "id": "", "occurred": ""} for event in pulling.running.prefect.events]
    for _, _, name, resource, payload, related in CASES:
        assert {"id": "", **expected(name, resource, payload, related), "occurred": ""} in events
    wait_until(lambda: len(pulling.logged("gateway.accepted")) == len(CASES), "all are logged as accepted")
    assert httpx.get(f"{pulling.running.url}/readyz").status_code == 200
    assert httpx.post(f"{pulling.running.url}/push/{names.LAKE_LANDED}").status_code == 404
    pulling.running.process.send_signal(signal.SIGTERM)
    assert pulling.running.process.wait(20) == 0
    assert {topic: pulling.unacknowledged(topic) for topic in names.TOPICS} == dict.fromkeys(names.TOPICS, 0)


def test_poison_message_is_dead_lettered(pulling: Pulling) -> None:
    poison = pulling.publish(names.SECRET_ROTATED, message({"a": 1}))
    pulling.publish(names.SECRET_ROTATED, message({"a": 1}, secretId="projects/1/secrets/after"))
    wait_until(lambda: pulling.events("secret.rotated"), "the message after it is an event", 20)
    letters: list[Any] = []
    wait_until(lambda: letters.extend(pulling.dead_letters(names.SECRET_ROTATED)) or letters, "it is a dead letter", 20)
    assert [received.message.data for received in letters] == [b'{"a": 1}']
    refused = [line for line in pulling.logged("gateway.refused") if line["message_id"] == poison]
    assert [line["attempt"] for line in refused] == list(range(1, ATTEMPTS + 1))
    assert "attribute secretId is missing" in refused[0]["why"]


@pytest.mark.slow
def test_prefect_outage_dead_letters_nothing(pulling: Pulling) -> None:
    pulling.running.prefect.answer = 503
    sent = [pulling.publish(names.LAKE_LANDED, landed()) for _ in range(3)]
    wait_until(lambda: len(pulling.logged("gateway.unavailable")) > 2 * len(sent), "it has tried several times", 20)
    assert pulling.running.prefect.events == []
    assert pulling.unacknowledged(names.LAKE_LANDED) == 0
    pulling.running.prefect.answer = 204
    wait_until(lambda: len(pulling.logged("gateway.accepted")) == 3, "all events are at Prefect", 20)
    assert len(pulling.events("lake.landed")) == 3
    accepted = {line["message_id"]: line["attempt"] for line in pulling.logged("gateway.accepted")}
    assert accepted == dict.fromkeys(sent, 1)
    assert pulling.dead_letters(names.LAKE_LANDED) == []


def test_shutdown_in_an_outage_returns_messages(pulling: Pulling, tmp_path: Path) -> None:
    pulling.running.prefect.answer = 503
    sent = pulling.publish(names.MARTS_PUBLISHED, message({"run_id": "r", "marts": {}, "batches": 1}))
    wait_until(lambda: pulling.logged("gateway.unavailable"), "it has the message", 20)
    pulling.running.process.send_signal(signal.SIGTERM)
    assert pulling.running.process.wait(20) == 0
    name = f"projects/{PROJECT}/subscriptions/{names.pull_subscription(names.MARTS_PUBLISHED)}"
    received = pulling.pubsub.pull_one(name)
    assert (received.message.message_id, received.delivery_attempt) == (sent, 2)
    pulling.pubsub.ack(name, [received])


def test_missing_subscription_ends_it_by_name(pubsub: PubSub, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    env = {
        "MILLRACE_EVENTS__PROJECT": "another-project",
        "MILLRACE_EVENTS__ENDPOINT": pubsub.address,
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
    }
    with process("-m", "millrace.gateway", "pull", "--port", str(free_port()), env=env, log=log) as started:
        assert started.wait(30) == 1
    assert "projects/another-project/subscriptions/lake-landed-gateway-pull" in log.read_text()
    assert "NOT_FOUND" in log.read_text() or "404" in log.read_text()
