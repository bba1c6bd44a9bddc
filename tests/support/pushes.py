"""Messages of every topic with the events that they mean, and the requests in which Pub/Sub pushes them."""

import base64
import json
from typing import Any

from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.events import IngestRequested, MartsPublished, Message, WarehouseMerged, attributes
from millrace.events.message import Incoming

AT = "2026-01-01T12:00:00.5Z"
MANIFEST = "_manifests/shop/orders/20260101/c-1-000000000042.json"
BALANCE = Balance(rows_in=3, merged=2, superseded=1, stale=0, quarantined=0)
MERGED = WarehouseMerged(source="shop", stream="orders", batch_id="b1", balance=BALANCE)

Json = dict[str, Any]


def message(data: object = None, message_id: str = "7", **attributes: str) -> Incoming:
    """A message with a JSON body and attributes."""
    text = b"" if data is None else json.dumps(data).encode()
    return Incoming(message_id=message_id, publish_time=AT, attributes=attributes, data=text)


def of(event: Message) -> Incoming:
    """A message as the event bus publishes it."""
    return message(event.model_dump(mode="json"), **attributes(event))


def landed(path: str = MANIFEST, kind: str = "OBJECT_FINALIZE", message_id: str = "7") -> Incoming:
    return message(
        {"name": path, "bucket": "lake"},
        message_id,
        eventType=kind,
        objectId=path,
        objectGeneration="9",
        bucketId="lake",
    )


WEBHOOK = {
    "text": "Your connection shop from Postgres to GCS succeeded",
    "data": {
        "workspace": {"id": "w", "name": "Millrace", "url": "https://airbyte.example/workspaces/w"},
        "connection": {"id": "c", "name": "shop", "url": "https://airbyte.example/connections/c"},
        "source": {"id": "s", "name": "shop"},
        "destination": {"id": "d", "name": "millrace-lake"},
        "jobId": 42,
        "startedAt": "2026-01-01T11:00:00Z",
        "finishedAt": "2026-01-01T11:01:00Z",
        "bytesEmitted": 1000,
        "bytesCommitted": 1000,
        "recordsEmitted": 10,
        "recordsCommitted": 10,
        "durationInSeconds": 60,
        "success": True,
    },
}
CASES: list[tuple[str, Incoming, str, str, Json, list[str]]] = [
    (
        names.LAKE_LANDED,
        landed(),
        "lake.landed",
        "millrace.stream.shop.orders",
        {"source": "shop", "stream": "orders", "job_id": 42, "object": MANIFEST, "generation": "9"},
        [],
    ),
    (
        names.WAREHOUSE_MERGED,
        of(MERGED),
        "warehouse.merged",
        "millrace.warehouse",
        {"source": "shop", "stream": "orders", "batch_id": "b1", "balance": BALANCE.model_dump()},
        ["millrace.stream.shop.orders"],
    ),
    (
        names.MARTS_PUBLISHED,
        of(MartsPublished(run_id="r", marts={"m": 1}, batches=2)),
        "marts.published",
        "millrace.warehouse",
        {"run_id": "r", "marts": {"m": 1}, "batches": 2},
        [],
    ),
    (
        names.INGEST_REQUESTED,
        of(IngestRequested(source="shop", streams=("orders",), reason='a "new" one')),
        "source.requested",
        "millrace.source.shop",
        {"source": "shop", "streams": ["orders"], "reason": 'a "new" one'},
        [],
    ),
    (
        names.INGEST_REQUESTED,
        message(source="shop", colour="red"),
        "source.requested",
        "millrace.source.shop",
        {"source": "shop", "streams": None, "reason": ""},
        [],
    ),
    (
        names.SECRET_ROTATED,
        message({"name": "x"}, secretId="projects/1/secrets/slack-url", eventType="SECRET_VERSION_ADD"),
        "secret.rotated",
        "millrace.secret.slack-url",
        {"secret": "slack-url", "change": "SECRET_VERSION_ADD"},
        [],
    ),
    (
        names.AIRBYTE_COMPLETED,
        message(WEBHOOK),
        "sync.completed",
        "millrace.source.shop",
        {"source": "shop", "job_id": 42, "succeeded": True, "error": None},
        [],
    ),
]


def expected(name: str, resource: str, payload: Json, related: list[str]) -> Json:
    """Return the event that Prefect receives, without its id."""
    requested = name in ("lake.landed", "warehouse.merged", "sync.completed")
    return {
        "event": name,
        "occurred": AT,
        "resource": {"prefect.resource.id": resource} | ({"millrace.run": "needed"} if requested else {}),
        "related": [{"prefect.resource.id": r, "prefect.resource.role": "stream"} for r in related],
        "payload": {"v": 1, **payload},
    }


def wrapped(pushed: Incoming) -> tuple[dict[str, str], bytes]:
    """Headers and body of a push."""
    body = {
        "message": {
            "messageId": pushed.message_id,
            "message_id": pushed.message_id,
            "publishTime": pushed.publish_time,
            "publish_time": pushed.publish_time,
            "attributes": pushed.attributes,
            "data": base64.b64encode(pushed.data).decode(),
        },
        "subscription": "projects/p/subscriptions/s",
    }
    return {"content-type": "application/json"}, json.dumps(body).encode()


def unwrapped(pushed: Incoming) -> tuple[dict[str, str], bytes]:
    """Headers and body of a push of an unwrapped message with its metadata."""
    headers = {
        "x-goog-pubsub-message-id": pushed.message_id,
        "x-goog-pubsub-publish-time": pushed.publish_time,
        "x-goog-pubsub-subscription-name": "projects/p/subscriptions/s",
    }
    return headers | pushed.attributes, pushed.data


FORMS = {"wrapped": wrapped, "unwrapped": unwrapped}
