"""A push's headers and body in, wrapped or not; the message that it carries out."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from contracts.errors import EventRefused
from contracts.stream import Frozen

METADATA = "x-goog-pubsub-"  # https://cloud.google.com/pubsub/docs/payload-unwrapping

Json = dict[str, Any]


def _instant(text: str) -> str:
    """Text of an instant; Prefect would refuse another, and all events that are sent with it."""
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return text


def _decoded(value: object) -> object:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"no base64: {error}") from None


class Incoming(Frozen):
    """A message of a topic, however it came; `attempt` is 0 when Pub/Sub does not count them."""

    message_id: Annotated[str, Field(min_length=1)]
    publish_time: Annotated[str, AfterValidator(_instant)]
    attributes: dict[str, str] = Field(default_factory=dict)
    data: bytes = b""
    attempt: int = 0

    def attribute(self, name: str, default: str = "") -> str:
        """An attribute; an unwrapped push bears it as a header, whose name has no case."""
        return self.attributes.get(name) or self.attributes.get(name.lower()) or default

    def body(self) -> Json:
        """The data as a JSON object; an empty one when there is no data.

        Raises:
            EventRefused: it is none.
        """
        try:
            found = json.loads(self.data or b"{}")
        except (ValueError, RecursionError) as error:
            raise EventRefused(f"message {self.message_id}: its data is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise EventRefused(f"message {self.message_id}: its data is no JSON object")
        return found


class _Wrapped(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    message_id: Annotated[str, Field(alias="messageId", min_length=1)]
    publish_time: Annotated[str, Field(alias="publishTime", min_length=1), AfterValidator(_instant)]
    attributes: dict[str, str] = Field(default_factory=dict)
    data: Annotated[bytes, BeforeValidator(_decoded)] = b""


class _Push(BaseModel):
    message: _Wrapped
    delivery_attempt: Annotated[int, Field(alias="deliveryAttempt")] = 0


def parse_push(headers: Mapping[str, str], body: bytes) -> Incoming:
    """The message of a push request, in either form that Pub/Sub pushes.

    Raises:
        EventRefused: it is no push.
    """
    try:
        if f"{METADATA}message-id" in headers:
            return _unwrapped(headers, body)
        push = _Push.model_validate_json(body)
        return Incoming(**dict(push.message), attempt=push.delivery_attempt)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'body'}: {e['msg']}" for e in error.errors())
        raise EventRefused(
            f"neither the body nor the {METADATA}* headers are those of a Pub/Sub push (an unwrapped one needs"
            f" write-metadata): {wrong}"
        ) from None


def _unwrapped(headers: Mapping[str, str], body: bytes) -> Incoming:
    return Incoming(
        message_id=headers[f"{METADATA}message-id"],
        publish_time=headers.get(f"{METADATA}publish-time", ""),
        attributes={k.lower(): v for k, v in headers.items() if k.lower() != "authorization"},
        data=body,
    )
