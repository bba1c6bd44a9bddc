"""A message of a topic in, its Prefect event out; `ROUTES` is the table of all topics.

`gateway/webhooks/<topic>.j2` are the same translations for Prefect Cloud; tests compare both.
"""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from millrace.domain import names
from millrace.domain.airbyte import SOURCE_NAME, AirbyteCompleted
from millrace.domain.errors import EventRefused
from millrace.domain.events import IngestRequested, MartsPublished, WarehouseMerged
from millrace.domain.types import Frozen
from millrace.events.message import Incoming, Json

EVENT_IDS = uuid.UUID("0d5a2f5c-5b0e-5a1e-9a6e-6d3c1e0f7b11")

Resource = dict[str, str]
Meaning = tuple[str, tuple[str, ...], Json]


class Event(Frozen):
    """An event for Prefect."""

    id: str
    name: str
    occurred: str
    resource: Resource
    related: tuple[Resource, ...] = ()
    payload: Json

    def as_prefect(self) -> Json:
        """Return the event in the JSON format of Prefect's API."""
        return {
            "id": self.id,
            "event": self.name,
            "occurred": self.occurred,
            "resource": self.resource,
            "related": list(self.related),
            "payload": self.payload,
        }


def translate(topic: str, message: Incoming) -> Event | None:
    """Return the event of a message; None when the message has no meaning to the platform.

    The event's id derives from the message's, so that a message that is pushed twice is one event; for a dead letter
    that is published again it derives from the id of the letter.

    Raises:
        EventRefused: the topic does not exist, or the message is invalid on it.
    """
    if topic not in ROUTES:
        raise EventRefused(f"no topic {topic!r}; there are {', '.join(ROUTES)}")
    try:
        meaning = ROUTES[topic](message)
        for text in _texts(meaning):
            _check(text)
    except (ValidationError, ValueError) as error:
        raise EventRefused(f"message {message.message_id} on {topic}: {error}") from None
    if meaning is None:
        return None
    resource, related, payload = meaning
    origin = message.attribute(names.ORIGIN_ATTRIBUTE)
    return Event(
        id=str(uuid.uuid5(EVENT_IDS, f"{topic}/{message.message_id}" if not origin else f"dead/{topic}/{origin}")),
        name=names.EVENT_OF_TOPIC[topic],
        occurred=message.publish_time,
        resource={"prefect.resource.id": resource} | ({names.RUN_LABEL: names.NEEDED} if topic in REQUESTS else {}),
        related=tuple({"prefect.resource.id": r, "prefect.resource.role": "stream"} for r in related),
        payload={"v": 1} | payload,
    )


def _check(text: str) -> None:
    """Check that PostgreSQL can store a text; else Prefect would drop all events of the same transaction."""
    if "\x00" in text:
        raise ValueError(f"{text[:100]!r} has a zero character")
    text.encode()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _require(message: Incoming, name: str) -> str:
    if not (value := message.attribute(name)):
        raise ValueError(f"attribute {name} is missing")
    return value


def _translate_landed(message: Incoming) -> Meaning | None:
    kind, path = _require(message, "eventType"), _require(message, "objectId")
    if kind != "OBJECT_FINALIZE" or not path.startswith(names.MANIFESTS):
        return None
    source, stream, job_id = names.parse_manifest_path(path)
    payload = {
        "source": source,
        "stream": stream,
        "job_id": job_id,
        "object": path,
        "generation": message.attribute("objectGeneration"),
    }
    return names.stream_resource(source, stream), (), payload


def _translate_merged(message: Incoming) -> Meaning:
    merged = WarehouseMerged.model_validate(message.body())
    return names.WAREHOUSE_RESOURCE, (names.stream_resource(merged.source, merged.stream),), merged.model_dump()


def _translate_published(message: Incoming) -> Meaning:
    return names.WAREHOUSE_RESOURCE, (), MartsPublished.model_validate(message.body()).model_dump()


def _translate_requested(message: Incoming) -> Meaning:
    by_attributes = {name: value for name in ("source", "reason") if (value := message.attribute(name))}
    request = IngestRequested.model_validate(message.body() or by_attributes)
    return names.source_resource(request.source), (), request.model_dump(mode="json")


def _translate_rotated(message: Incoming) -> Meaning | None:
    """Translate Secret Manager's events: https://cloud.google.com/secret-manager/docs/event-notifications"""
    if message.attribute("eventType") == "TOPIC_CONFIGURED":
        return None  # sent once for each secret that gets the topic; it names none
    secret = _require(message, "secretId").rsplit("/", 1)[-1]
    return f"millrace.secret.{secret}", (), {"secret": secret, "change": message.attribute("eventType")}


def _translate_completed(message: Incoming) -> Meaning | None:
    """Translate Airbyte's webhook: https://docs.airbyte.com/platform/using-airbyte/workspaces/notifications"""
    sync = AirbyteCompleted.model_validate(message.body()).data
    source = sync.connection.name
    if not SOURCE_NAME.fullmatch(source):
        return None  # not our connection: ours have the names of their sources
    payload = {"source": source, "job_id": sync.job_id, "succeeded": sync.success, "error": sync.error}
    return names.source_resource(source), (), payload


REQUESTS = (names.LAKE_LANDED, names.WAREHOUSE_MERGED, names.AIRBYTE_COMPLETED)  # of a run, if none is active
ROUTES: dict[str, Callable[[Incoming], Meaning | None]] = {
    names.LAKE_LANDED: _translate_landed,
    names.WAREHOUSE_MERGED: _translate_merged,
    names.MARTS_PUBLISHED: _translate_published,
    names.INGEST_REQUESTED: _translate_requested,
    names.SECRET_ROTATED: _translate_rotated,
    names.AIRBYTE_COMPLETED: _translate_completed,
}
