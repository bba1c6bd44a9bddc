"""Headers and body of a push request in, wrapped or unwrapped; its message out."""

import base64
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from millrace.domain.errors import EventRefused
from millrace.events.message import Incoming, instant_text

METADATA = "x-goog-pubsub-"  # https://cloud.google.com/pubsub/docs/payload-unwrapping


def _decode(value: object) -> object:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"not base64: {error}") from None


class _Wrapped(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    message_id: Annotated[str, Field(alias="messageId", min_length=1)]
    publish_time: Annotated[str, Field(alias="publishTime", min_length=1), AfterValidator(instant_text)]
    attributes: dict[str, str] = Field(default_factory=dict)
    data: Annotated[bytes, BeforeValidator(_decode)] = b""


class _Push(BaseModel):
    message: _Wrapped
    delivery_attempt: Annotated[int, Field(alias="deliveryAttempt")] = 0


def parse_push(headers: Mapping[str, str], body: bytes) -> Incoming:
    """Return the message of a push request, in either form that Pub/Sub sends.

    Raises:
        EventRefused: the request is not a push.
    """
    try:
        if f"{METADATA}message-id" in headers:
            return _parse_unwrapped(headers, body)
        push = _Push.model_validate_json(body)
        return Incoming(**dict(push.message), attempt=push.delivery_attempt)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'body'}: {e['msg']}" for e in error.errors())
        raise EventRefused(
            f"neither the body nor the {METADATA}* headers are those of a Pub/Sub push (an unwrapped one needs"
            f" write-metadata): {wrong}"
        ) from None


def _parse_unwrapped(headers: Mapping[str, str], body: bytes) -> Incoming:
    return Incoming(
        message_id=headers[f"{METADATA}message-id"],
        publish_time=headers.get(f"{METADATA}publish-time", ""),
        attributes={k.lower(): v for k, v in headers.items() if k.lower() != "authorization"},
        data=body,
    )
