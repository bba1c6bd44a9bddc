"""The endpoint for Airbyte's webhook: it admits callers with the secret, and 204 means that Pub/Sub has the message."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.pubsub_v1.types import Subscription

from millrace.domain import names
from millrace.gateway.answer import MAX_BODY_BYTES
from tests.support.clients import PubSub
from tests.support.gateway_process import HTTP, Running, gateway
from tests.support.prefect_server import prefect_server
from tests.support.pushes import WEBHOOK
from tests.support.scripted_airbyte import PROJECT, secret_manager
from tests.support.servers import free_port, server, wait_until

NAME = "airbyte-webhook-token"
TOPIC = f"projects/{PROJECT}/topics/{names.AIRBYTE_COMPLETED}"
HEARD = f"projects/{PROJECT}/subscriptions/heard"


@dataclass
class Place:
    """A gateway, the Pub/Sub that it publishes to and the Secret Manager that it reads."""

    running: Running
    pubsub: PubSub
    secrets_port: int
    token: str = "the-first-token"

    def post(self, body: bytes | dict[str, Any] = WEBHOOK, token: str | None = None) -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/airbyte/{self.token if token is None else token}"
        return HTTP.post(self.running.url + path, content=content).status_code

    def add(self, token: str) -> None:
        """Add a version to the secret."""
        with secret_manager(self.secrets_port) as manager:
            manager.add_secret_version(parent=f"projects/{PROJECT}/secrets/{NAME}", payload={"data": token.encode()})
        self.token = token

    def published(self) -> list[dict[str, Any]]:
        received = self.pubsub.due(HEARD)
        if received:
            self.pubsub.ack(HEARD, received)
        return [json.loads(r.message.data) for r in received]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("webhook")
    with (
        server("pubsub", folder / "pubsub") as pubsub_port,
        server("secrets", folder / "secrets") as secrets_port,
        prefect_server(free_port()) as prefect,
    ):
        pubsub = PubSub(pubsub_port)
        pubsub.publisher.create_topic(name=TOPIC)
        pubsub.subscriber.create_subscription(Subscription(name=HEARD, topic=TOPIC))
        env = {
            "MILLRACE_EVENTS__PROJECT": PROJECT,
            "MILLRACE_EVENTS__ENDPOINT": pubsub.address,
            "MILLRACE_SECRETS__ENDPOINT": f"127.0.0.1:{secrets_port}",
        }
        with gateway(folder, prefect, "-", folder, **env) as running:
            yield Place(running, pubsub, secrets_port)


def test_missing_secret_is_logged_and_rejects_all(place: Place) -> None:
    assert place.post(token="") in (404, 405)
    assert place.post() == 503
    assert f"secrets/{NAME}/versions/latest" in "".join(
        line["why"] for line in place.running.lines() if line.get("event") == "gateway.token_away"
    )
    with secret_manager(place.secrets_port) as manager:
        secret = {"replication": {"automatic": {}}}
        manager.create_secret(parent=f"projects/{PROJECT}", secret_id=NAME, secret=secret)
    place.add(place.token)
    wait_until(lambda: place.post() == 204, "the secret is read", 20)
    place.published()


def test_ended_sync_is_published_before_answer(place: Place) -> None:
    assert place.post() == 204
    (message,) = place.published()
    assert message == {"data": {"connection": {"name": "shop"}, "jobId": 42, "success": True, "errorMessage": None}}
    line = place.running.last_line()
    assert (line["event"], line["topic"], line["job_id"]) == ("gateway.accepted", names.AIRBYTE_COMPLETED, 42)


@pytest.mark.parametrize("token", ["wrong", "the-first-tokem", "the-first-token2", "%00", "%C3%A9", "x" * 600])
def test_wrong_secret_publishes_nothing(place: Place, token: str) -> None:
    assert place.post(token=token) == 401
    assert place.published() == []
    line = place.running.last_line()
    assert (line["event"], line["remote"]) == ("gateway.unauthenticated", "127.0.0.1")
    assert "the-first" not in json.dumps(line)


def test_strangers_cause_no_reads_of_the_secret(place: Place) -> None:
    began = time.monotonic()
    assert [place.post(token=f"guess-{n}") for n in range(50)] == [401] * 50
    assert time.monotonic() - began < 10
    assert place.post() == 204
    assert len(place.published()) == 1


@pytest.mark.parametrize(
    ("body", "status", "event"),
    [
        (b"{", 400, "gateway.refused"),
        (b"[1]", 400, "gateway.refused"),
        ({"data": {"connection": {"name": "shop"}, "jobId": "x", "success": True}}, 400, "gateway.refused"),
        ({"data": {"connection": {"name": "shop"}, "jobId": 1}}, 400, "gateway.refused"),
        (b"{" + b" " * MAX_BODY_BYTES, 413, "gateway.refused"),
        ({"text": "Hello World! This is a test from Airbyte"}, 204, "gateway.ignored"),
        ({"data": {"connection": {"name": "Other → lake"}, "jobId": 1, "success": True}}, 204, "gateway.ignored"),
    ],
    ids=["no JSON", "no object", "odd job", "no outcome", "long", "Airbyte's test", "others' connection"],
)
def test_other_messages_are_not_published(place: Place, body: Any, status: int, event: str) -> None:
    assert place.post(body) == status
    assert place.published() == []
    assert (place.running.last_line()["event"], place.running.last_line()["status"]) == (event, status)


def test_rotated_secret_counts_within_seconds(place: Place) -> None:
    old = place.token
    place.add("the-second-token")
    wait_until(lambda: place.post() == 204, "the new token is known", 20)
    assert place.post(token=old) == 401


def test_notification_is_taken_without_prefect(place: Place) -> None:
    place.published()
    place.running.prefect.stop()
    try:
        assert place.post() == 204
    finally:
        place.running.prefect.start()
    assert len(place.published()) == 1


def test_without_pubsub_the_answer_is_503(place: Place) -> None:
    place.published()
    place.pubsub.publisher.delete_topic(topic=TOPIC)
    try:
        assert place.post() == 503
        assert "has no topic" in place.running.last_line()["why"]
    finally:
        place.pubsub.publisher.create_topic(name=TOPIC)


def test_unknown_method_or_address_is_rejected(place: Place, tmp_path: Path) -> None:
    assert httpx.get(f"{place.running.url}/airbyte/{place.token}").status_code == 405
    env = {"MILLRACE_GATEWAY__AIRBYTE_TOKEN_SECRET": ""}
    with gateway(tmp_path, place.running.prefect, "-", tmp_path, **env) as other:
        assert HTTP.post(f"{other.url}/airbyte/x", json=WEBHOOK).status_code == 404
