"""Pushed messages become Prefect events; what makes no sense on its topic is refused with the reason."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.domain import names
from millrace.domain.errors import EventRefused
from millrace.events.message import Incoming
from millrace.events.translate import ROUTES, Event, translate
from millrace.gateway.push_request import parse_push
from tests.support.pushes import AT, CASES, FORMS, MANIFEST, MERGED, WEBHOOK, expected, landed, message


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("topic", "pushed", "name", "resource", "payload", "related"), CASES)
def test_each_topic_has_its_event(
    topic: str, pushed: Incoming, name: str, resource: str, payload: dict[str, Any], related: list[str], form: str
) -> None:
    event = translate(topic, parse_push(*FORMS[form](pushed)))
    assert event is not None
    assert event.as_prefect() == {"id": event.id, **expected(name, resource, payload, related)}
    assert event == translate(topic, pushed)
    assert names.EVENT_OF_TOPIC[topic] == name
    json.dumps(event.as_prefect())


def test_every_topic_is_translated() -> None:
    assert set(ROUTES) == set(names.TOPICS) == {topic for topic, *_ in CASES}


@pytest.mark.parametrize(
    "pushed",
    [
        landed(kind="OBJECT_DELETE"),
        landed("raw/shop/orders/sync_id=1/0.parquet"),
        landed(MANIFEST.replace("_manifests", "_manifests_empty")),
    ],
)
def test_other_bucket_events_mean_nothing(pushed: Incoming) -> None:
    assert translate(names.LAKE_LANDED, pushed) is None


@pytest.mark.parametrize(
    ("topic", "pushed", "reason"),
    [
        (names.LAKE_LANDED, message(objectId=MANIFEST), "attribute eventType is missing"),
        (names.LAKE_LANDED, message(eventType="OBJECT_FINALIZE"), "attribute objectId is missing"),
        (names.LAKE_LANDED, landed("_manifests/readme.json"), "'_manifests/readme.json' is not a manifest"),
        (names.LAKE_LANDED, landed("_manifests/shop/orders/20260101/readme.json"), "readme.json' is not a manifest"),
        (names.LAKE_LANDED, landed("_manifests/Shop/orders/20260101/c-1.json"), "c-1.json' is not a manifest"),
        (names.WAREHOUSE_MERGED, message(), "source"),
        (names.WAREHOUSE_MERGED, message(MERGED.model_dump() | {"source": "The Shop"}), "source"),
        (names.WAREHOUSE_MERGED, message(MERGED.model_dump() | {"batch_id": "b\x00"}), "zero character"),
        (names.WAREHOUSE_MERGED, message(MERGED.model_dump() | {"batch_id": "\ud800"}), "surrogates"),
        (names.WAREHOUSE_MERGED, message([1]), "not a JSON object"),
        (names.MARTS_PUBLISHED, message({"run_id": "r", "marts": {"m": "many"}, "batches": 1}), "marts.m"),
        (names.MARTS_PUBLISHED, message({"run_id": "r", "marts": {"m\x00": 1}, "batches": 1}), "zero character"),
        (names.INGEST_REQUESTED, message(), "source"),
        (names.INGEST_REQUESTED, message({"source": "shop", "colour": "red"}), "colour"),
        (names.SECRET_ROTATED, message(eventType="SECRET_ROTATE"), "attribute secretId is missing"),
        (names.SECRET_ROTATED, message(secretId="a\ud800"), "surrogates"),
    ],
)
def test_invalid_message_is_rejected_with_reason(topic: str, pushed: Incoming, reason: str) -> None:
    with pytest.raises(EventRefused, match=f"(?s)^message 7.*{reason}"):
        translate(topic, pushed)


def test_unknown_topic_error_lists_valid_topics() -> None:
    with pytest.raises(EventRefused, match="no topic 'lake-landet'; there are lake-landed, "):
        translate("lake-landet", landed())


@pytest.mark.parametrize("data", [b"{", b"[" * 9999, b"\xff"])
def test_non_json_data_is_rejected(data: bytes) -> None:
    pushed = Incoming(message_id="7", publish_time=AT, data=data)
    with pytest.raises(EventRefused, match=r"^message 7.*: its data is not JSON"):
        translate(names.MARTS_PUBLISHED, pushed)


def push_body(**message: object) -> bytes:
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


@pytest.mark.parametrize(
    "ids",
    [
        {"messageId": "7", "publishTime": AT},
        {"message_id": "7", "publish_time": AT},
        {"messageId": "7", "message_id": "7", "publishTime": AT, "publish_time": AT, "orderingKey": "k"},
    ],
)
def test_push_may_lack_data_and_attributes(ids: dict[str, str]) -> None:
    assert parse_push({}, push_body(**ids)) == Incoming(message_id="7", publish_time=AT)


def test_attempt_is_read_when_pubsub_counts() -> None:
    body = json.loads(push_body(messageId="7", publishTime=AT)) | {"deliveryAttempt": 3}
    assert parse_push({}, json.dumps(body).encode()).attempt == 3


def test_unwrapped_message_drops_the_token() -> None:
    headers, body = FORMS["unwrapped"](landed())
    assert "secret" not in str(parse_push(headers | {"authorization": "Bearer secret"}, body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[]", "object"),
        (b"{}", "message: Field required"),
        (push_body(publishTime=AT), "message.messageId: Field required"),
        (push_body(messageId="", publishTime=AT), "message.messageId: String should have at least 1"),
        (push_body(messageId="7"), "message.publishTime: Field required"),
        (push_body(messageId="7", publishTime="yesterday"), "message.publishTime: .*isoformat"),
        (push_body(messageId="7", publishTime="2026-01-01"), "message.publishTime: .*no time zone"),
        (push_body(messageId="7", publishTime=AT, attributes={"a": 1}), "message.attributes.a: "),
        (push_body(messageId="7", publishTime=AT, data="%%%"), "message.data: .*not base64"),
        (push_body(messageId="7", publishTime=AT, data="e30"), "message.data: .*not base64"),
    ],
)
def test_invalid_push_body_is_rejected_by_field(body: bytes, reason: str) -> None:
    with pytest.raises(EventRefused, match=f"are those of a Pub/Sub push .*{reason}"):
        parse_push({}, body)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"x-goog-pubsub-publish-time": "soon"}, "publish_time"), ({"x-goog-pubsub-message-id": ""}, "message_id")],
)
def test_invalid_metadata_is_rejected_by_field(changed: dict[str, str], reason: str) -> None:
    headers, body = FORMS["unwrapped"](landed())
    with pytest.raises(EventRefused, match=f"are those of a Pub/Sub push .*{reason}"):
        parse_push(headers | changed, body)


def event_id(topic: str, message_id: str, **attributes: str) -> str:
    event = translate(topic, message(None, message_id, **attributes))
    assert isinstance(event, Event)
    return event.id


@given(st.text(min_size=1), st.text(min_size=1))
def test_each_message_is_one_event(left: str, right: str) -> None:
    first = event_id(names.INGEST_REQUESTED, left, source="shop")
    assert first == event_id(names.INGEST_REQUESTED, left, source="shop")
    assert (first == event_id(names.INGEST_REQUESTED, right, source="shop")) == (left == right)
    assert first != event_id(names.SECRET_ROTATED, left, secretId="s")


def completed(**changes: object) -> Incoming:
    return message({"text": "", "data": dict(WEBHOOK["data"]) | changes})  # type: ignore[call-overload]


def test_a_topic_that_is_configured_is_no_rotation() -> None:
    """Secret Manager says so once for each secret that gets the topic, and names none."""
    assert translate(names.SECRET_ROTATED, message(eventType="TOPIC_CONFIGURED", dataFormat="JSON_API_V1")) is None


def test_webhook_of_foreign_connection_is_ignored() -> None:
    assert translate(names.AIRBYTE_COMPLETED, completed(connection={"name": "Postgres → BigQuery"})) is None


def test_webhook_of_other_airbyte_version_is_read() -> None:
    data = {"connection": {"name": "shop"}, "jobId": 7, "isSuccess": False, "errorMessage": "no route to host"}
    event = translate(names.AIRBYTE_COMPLETED, message({"data": data}))
    assert event
    assert (event.payload["succeeded"], event.payload["error"]) == (False, "no route to host")


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": {"connection": {"name": "shop"}, "success": True}}])
def test_invalid_webhook_is_rejected(body: dict[str, Any]) -> None:
    with pytest.raises(EventRefused, match="airbyte-completed"):
        translate(names.AIRBYTE_COMPLETED, message(body))


def test_repeated_dead_letter_is_one_event() -> None:
    def id_of(message_id: str, **attributes: str) -> str:
        incoming = Incoming(message_id=message_id, publish_time=AT, attributes={"source": "shop"} | attributes)
        event = translate(names.INGEST_REQUESTED, incoming)
        assert event
        return event.id

    again = {id_of(number, **{names.ORIGIN_ATTRIBUTE: "7"}) for number in ("8", "9")}
    assert len(again) == 1
    assert again & {id_of("7"), id_of("8"), id_of("9")} == set()


@given(st.binary(max_size=300), st.dictionaries(st.text(), st.text()), st.sampled_from(names.TOPICS))
def test_any_input_is_an_event_or_rejected(data: bytes, attributes: dict[str, str], topic: str) -> None:
    try:
        event = translate(topic, Incoming(message_id="7", publish_time=AT, attributes=attributes, data=data))
    except EventRefused:
        return
    assert event is None or json.dumps(event.as_prefect(), ensure_ascii=False).encode()


def test_data_is_decoded_from_base64() -> None:
    assert parse_push({}, push_body(messageId="7", publishTime=AT, data=base64.b64encode(b"{}").decode())).data == b"{}"
