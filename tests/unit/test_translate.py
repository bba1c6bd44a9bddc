"""Pushed messages become Prefect events; what makes no sense on its topic is refused with the reason."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import names
from contracts.batch import Balance
from contracts.errors import EventRefused
from contracts.events import IngestRequested, MartsPublished, Message, WarehouseMerged, attributes
from gateway.translate import MEANINGS, Event, PushedMessage, parse_push, translate

AT = "2026-01-01T12:00:00.5Z"
MANIFEST = "_manifests/shop/orders/20260101/c-1-000000000042.json"
BALANCE = Balance(rows_in=3, merged=2, superseded=1, stale=0, quarantined=0)
MERGED = WarehouseMerged(source="shop", stream="orders", batch_id="b1", balance=BALANCE)


def message(data: object = None, **given: str) -> PushedMessage:
    """A message with a JSON body and attributes."""
    text = b"" if data is None else json.dumps(data).encode()
    return PushedMessage(
        message_id="7", publish_time=AT, attributes=given, data=base64.b64encode(text).decode()
    )  # fmt: skip


def of(event: Message) -> PushedMessage:
    """A message as the event bus publishes it."""
    return message(event.model_dump(mode="json"), **attributes(event))


def landed(path: str = MANIFEST, kind: str = "OBJECT_FINALIZE") -> PushedMessage:
    return message(eventType=kind, objectId=path, objectGeneration="9", bucketId="lake")


WEBHOOK = {
    "text": "Your connection shop from Postgres to GCS succeeded",
    "data": {
        "workspace": {"id": "w", "name": "Millrace", "url": "https://airbyte.example/workspaces/w"},
        "connection": {"id": "c", "name": "shop", "url": "https://airbyte.example/connections/c"},
        "source": {"id": "s", "name": "shop"}, "destination": {"id": "d", "name": "millrace-lake"},
        "jobId": 42, "startedAt": "2026-01-01T11:00:00Z", "finishedAt": "2026-01-01T11:01:00Z", "bytesEmitted": 1000,
        "bytesCommitted": 1000, "recordsEmitted": 10, "recordsCommitted": 10, "durationInSeconds": 60, "success": True,
    },
}  # fmt: skip
CASES: list[tuple[str, PushedMessage, str, str, dict[str, Any], list[str]]] = [
    (names.LAKE_LANDED, landed(), "lake.landed", "millrace.stream.shop.orders",
     {"source": "shop", "stream": "orders", "job_id": 42, "object": MANIFEST, "generation": "9"}, []),
    (names.WAREHOUSE_MERGED, of(MERGED), "warehouse.merged", "millrace.warehouse",
     {"source": "shop", "stream": "orders", "batch_id": "b1", "balance": BALANCE.model_dump()},
     ["millrace.stream.shop.orders"]),
    (names.MARTS_PUBLISHED, of(MartsPublished(run_id="r", marts={"m": 1}, batches=2)), "marts.published",
     "millrace.warehouse", {"run_id": "r", "marts": {"m": 1}, "batches": 2}, []),
    (names.INGEST_REQUESTED, of(IngestRequested(source="shop", streams=("orders",), reason="x")), "source.requested",
     "millrace.source.shop", {"source": "shop", "streams": ["orders"], "reason": "x"}, []),
    (names.INGEST_REQUESTED, message(source="shop", colour="red"), "source.requested", "millrace.source.shop",
     {"source": "shop", "streams": None, "reason": ""}, []),
    (names.SECRET_ROTATED, message(secretId="projects/1/secrets/slack-url", eventType="SECRET_VERSION_ADD"),
     "secret.rotated", "millrace.secret.slack-url", {"secret": "slack-url", "change": "SECRET_VERSION_ADD"}, []),
    (names.AIRBYTE_COMPLETED, message(WEBHOOK), "sync.completed", "millrace.source.shop",
     {"source": "shop", "job_id": 42, "succeeded": True, "error": None}, []),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "pushed", "name", "resource", "payload", "related"), CASES)
def test_each_topic_has_its_event(
    topic: str, pushed: PushedMessage, name: str, resource: str, payload: dict[str, Any], related: list[str]
) -> None:
    event = translate(topic, pushed)
    assert event is not None
    assert event.as_prefect() == {
        "id": event.id, "event": name, "occurred": AT, "resource": {"prefect.resource.id": resource},
        "related": [{"prefect.resource.id": r, "prefect.resource.role": "stream"} for r in related],
        "payload": {"v": 1, **payload},
    }  # fmt: skip
    assert names.EVENT_OF_TOPIC[topic] == name
    json.dumps(event.as_prefect())


def test_every_topic_is_understood() -> None:
    assert set(MEANINGS) == set(names.TOPICS) == {topic for topic, *_ in CASES}


@pytest.mark.parametrize(
    "pushed",
    [landed(kind="OBJECT_DELETE"), landed("raw/shop/orders/sync_id=1/0.parquet"),
     landed(MANIFEST.replace("_manifests", "_manifests_empty"))],
)  # fmt: skip
def test_what_the_bucket_tells_beside_manifests_means_nothing(pushed: PushedMessage) -> None:
    assert translate(names.LAKE_LANDED, pushed) is None


@pytest.mark.parametrize(
    ("topic", "pushed", "why"),
    [
        (names.LAKE_LANDED, message(objectId=MANIFEST), "attribute eventType is missing"),
        (names.LAKE_LANDED, message(eventType="OBJECT_FINALIZE"), "attribute objectId is missing"),
        (names.LAKE_LANDED, landed("_manifests/readme.json"), "'_manifests/readme.json' is no manifest"),
        (names.LAKE_LANDED, landed("_manifests/shop/orders/20260101/readme.json"), "readme.json' is no manifest"),
        (names.LAKE_LANDED, landed("_manifests/Shop/orders/20260101/c-1.json"), "c-1.json' is no manifest"),
        (names.WAREHOUSE_MERGED, message(), "source"),
        (names.WAREHOUSE_MERGED, message(MERGED.model_dump() | {"source": "The Shop"}), "source"),
        (names.WAREHOUSE_MERGED, message([1]), "no JSON object"),
        (names.MARTS_PUBLISHED, message({"run_id": "r", "marts": {"m": "many"}, "batches": 1}), "marts.m"),
        (names.INGEST_REQUESTED, message(), "source"),
        (names.INGEST_REQUESTED, message({"source": "shop", "colour": "red"}), "colour"),
        (names.SECRET_ROTATED, message(eventType="SECRET_ROTATE"), "attribute secretId is missing"),
    ],
)
def test_a_message_that_makes_no_sense_is_refused_with_the_reason(topic: str, pushed: PushedMessage, why: str) -> None:
    with pytest.raises(EventRefused, match=f"(?s)^message 7.*{why}"):
        translate(topic, pushed)


@pytest.mark.parametrize("data", ["%%%", "e30", base64.b64encode(b"{").decode(), base64.b64encode(b"[" * 9999).decode(),
                                  base64.b64encode(b"\xff").decode()])  # fmt: skip
def test_data_that_is_no_json_in_base64_is_refused(data: str) -> None:
    pushed = PushedMessage(message_id="7", publish_time=AT, data=data)
    with pytest.raises(EventRefused, match=r"^message 7.*: its data is not JSON in base64"):
        translate(names.MARTS_PUBLISHED, pushed)


def push_body(**message: object) -> bytes:
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


@pytest.mark.parametrize(
    "ids", [{"messageId": "7", "publishTime": AT}, {"message_id": "7", "publish_time": AT},
            {"messageId": "7", "message_id": "7", "publishTime": AT, "publish_time": AT, "orderingKey": "k"}],
)  # fmt: skip
def test_a_push_is_read_in_either_spelling_and_may_lack_data_and_attributes(ids: dict[str, str]) -> None:
    assert parse_push(push_body(**ids)) == PushedMessage(message_id="7", publish_time=AT)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[]", "object"),
        (b"{}", "message: Field required"),
        (push_body(publishTime=AT), "message.messageId: Field required"),
        (push_body(messageId="", publishTime=AT), "message.messageId: String should have at least 1"),
        (push_body(messageId="7"), "message.publishTime: Field required"),
        (push_body(messageId="7", publishTime=AT, attributes={"a": 1}), "message.attributes.a: "),
    ],
)
def test_a_body_that_is_no_push_is_refused_with_the_field(body: bytes, why: str) -> None:
    with pytest.raises(EventRefused, match=f"the body is no Pub/Sub push: .*{why}"):
        parse_push(body)


def event_id(topic: str, message_id: str, **attributes: str) -> str:
    event = translate(
        topic, PushedMessage(message_id=message_id, publish_time=AT, attributes=attributes)
    )  # fmt: skip
    assert isinstance(event, Event)
    return event.id


@given(st.text(min_size=1), st.text(min_size=1))
def test_one_message_is_one_event_and_two_are_two(one: str, other: str) -> None:
    first = event_id(names.INGEST_REQUESTED, one, source="shop")
    assert first == event_id(names.INGEST_REQUESTED, one, source="shop")
    assert (first == event_id(names.INGEST_REQUESTED, other, source="shop")) == (one == other)
    assert first != event_id(names.SECRET_ROTATED, one, secretId="s")


def completed(**changes: object) -> PushedMessage:
    return message({"text": "", "data": dict(WEBHOOK["data"]) | changes})  # type: ignore[call-overload]


def test_the_webhook_of_a_connection_that_is_not_ours_means_nothing() -> None:
    assert translate(names.AIRBYTE_COMPLETED, completed(connection={"name": "Postgres → BigQuery"})) is None


def test_the_webhook_of_another_version_of_airbyte_is_understood() -> None:
    data = {"connection": {"name": "shop"}, "jobId": 7, "isSuccess": False, "errorMessage": "no route to host"}
    event = translate(names.AIRBYTE_COMPLETED, message({"data": data}))
    assert event
    assert (event.payload["succeeded"], event.payload["error"]) == (False, "no route to host")


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": {"connection": {"name": "shop"}, "success": True}}])
def test_what_is_no_webhook_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(EventRefused, match="airbyte-completed"):
        translate(names.AIRBYTE_COMPLETED, message(body))


def test_a_dead_letter_published_twice_is_one_event_and_none_with_another_message() -> None:
    def id_of(message_id: str, **attributes: str) -> str:
        given = PushedMessage(message_id=message_id, publish_time=AT, attributes={"source": "shop"} | attributes)
        event = translate(names.INGEST_REQUESTED, given)
        assert event
        return event.id

    again = {id_of(number, **{names.ORIGIN_ATTRIBUTE: "7"}) for number in ("8", "9")}
    assert len(again) == 1
    assert again & {id_of("7"), id_of("8"), id_of("9")} == set()
