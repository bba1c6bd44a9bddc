"""A pushed message in, the Prefect event that it means out; pure."""

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts import names
from contracts.airbyte import SOURCE_NAME, AirbyteCompleted
from contracts.errors import EventRefused
from contracts.events import IngestRequested, MartsPublished, WarehouseMerged
from contracts.stream import Frozen

EVENT_IDS = uuid.UUID("0d5a2f5c-5b0e-5a1e-9a6e-6d3c1e0f7b11")

Resource = dict[str, str]
Json = dict[str, Any]


class PushedMessage(BaseModel):
    """A message as Pub/Sub pushes it; data is base64."""

    model_config = ConfigDict(populate_by_name=True)

    message_id: str = Field(alias="messageId", min_length=1)
    publish_time: str = Field(alias="publishTime", min_length=1)
    attributes: dict[str, str] = Field(default_factory=dict)
    data: str = ""

    def body(self) -> Json:
        """The data as a JSON object.

        Raises:
            EventRefused: it is none.
        """
        try:
            found = json.loads(base64.b64decode(self.data, validate=True) or b"{}")
        except (ValueError, RecursionError) as error:
            raise EventRefused(f"message {self.message_id}: its data is not JSON in base64: {error}") from None
        if not isinstance(found, dict):
            raise EventRefused(f"message {self.message_id}: its data is no JSON object")
        return found


class Push(BaseModel):
    """The body of a push request."""

    message: PushedMessage
    subscription: str = ""


class Event(Frozen):
    """What to tell Prefect."""

    id: str
    name: str
    occurred: str
    resource: Resource
    related: tuple[Resource, ...] = ()
    payload: Json

    def as_prefect(self) -> Json:
        """The event as Prefect's API takes it."""
        return {
            "id": self.id, "event": self.name, "occurred": self.occurred, "resource": self.resource,
            "related": list(self.related), "payload": self.payload,
        }  # fmt: skip


def parse_push(body: bytes) -> PushedMessage:
    """The message of a push request.

    Raises:
        EventRefused: the body is no push.
    """
    try:
        return Push.model_validate_json(body).message
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'body'}: {e['msg']}" for e in error.errors())
        raise EventRefused(f"the body is no Pub/Sub push: {wrong}") from None


def translate(topic: str, message: PushedMessage) -> Event | None:
    """The event of a message; None when the message means nothing to the platform.

    The event's id follows from the message's, so that a message that is pushed twice is one event; that of a dead
    letter which is published again follows from the letter's.

    Raises:
        EventRefused: the message makes no sense on its topic.
    """
    try:
        meaning = MEANINGS[topic](message)
    except (ValidationError, ValueError) as error:
        raise EventRefused(f"message {message.message_id} on {topic}: {error}") from None
    if meaning is None:
        return None
    resource, related, payload = meaning
    origin = message.attributes.get(names.ORIGIN_ATTRIBUTE)
    return Event(
        id=str(uuid.uuid5(EVENT_IDS, f"{topic}/{message.message_id}" if not origin else f"dead/{topic}/{origin}")),
        name=names.EVENT_OF_TOPIC[topic],
        occurred=message.publish_time,
        resource={"prefect.resource.id": resource},
        related=tuple({"prefect.resource.id": r, "prefect.resource.role": "stream"} for r in related),
        payload={"v": 1} | payload,
    )


def _attribute(message: PushedMessage, name: str) -> str:
    if not message.attributes.get(name):
        raise ValueError(f"attribute {name} is missing")
    return message.attributes[name]


Meaning = tuple[str, tuple[str, ...], Json]


def _landed(message: PushedMessage) -> Meaning | None:
    kind, path = _attribute(message, "eventType"), _attribute(message, "objectId")
    if kind != "OBJECT_FINALIZE" or not path.startswith(names.MANIFESTS):
        return None
    source, stream, job_id = names.parse_manifest_path(path)
    payload = {"source": source, "stream": stream, "job_id": job_id, "object": path,
               "generation": message.attributes.get("objectGeneration", "")}  # fmt: skip
    return names.stream_resource(source, stream), (), payload


def _merged(message: PushedMessage) -> Meaning:
    merged = WarehouseMerged.model_validate(message.body())
    return names.WAREHOUSE_RESOURCE, (names.stream_resource(merged.source, merged.stream),), merged.model_dump()


def _published(message: PushedMessage) -> Meaning:
    return names.WAREHOUSE_RESOURCE, (), MartsPublished.model_validate(message.body()).model_dump()


def _requested(message: PushedMessage) -> Meaning:
    given = message.body() or {k: v for k, v in message.attributes.items() if k in ("source", "reason")}
    request = IngestRequested.model_validate(given)
    return f"millrace.source.{request.source}", (), request.model_dump(mode="json")


def _rotated(message: PushedMessage) -> Meaning:
    secret = _attribute(message, "secretId").rsplit("/", 1)[-1]
    return f"millrace.secret.{secret}", (), {"secret": secret, "change": message.attributes.get("eventType", "")}


def _completed(message: PushedMessage) -> Meaning | None:
    """Airbyte's webhook, as it is: https://docs.airbyte.com/platform/using-airbyte/workspaces/notifications"""
    done = AirbyteCompleted.model_validate(message.body())
    source = done.data.connection.name
    if not SOURCE_NAME.fullmatch(source):
        return None  # a connection that is not ours: ours are named after their sources
    payload = {"source": source, "job_id": done.data.job_id, "succeeded": done.data.success, "error": done.data.error}
    return f"millrace.source.{source}", (), payload


MEANINGS: dict[str, Callable[[PushedMessage], Meaning | None]] = {
    names.LAKE_LANDED: _landed,
    names.WAREHOUSE_MERGED: _merged,
    names.MARTS_PUBLISHED: _published,
    names.INGEST_REQUESTED: _requested,
    names.SECRET_ROTATED: _rotated,
    names.AIRBYTE_COMPLETED: _completed,
}
