"""A message of a topic, however it came."""

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from millrace.domain.errors import EventRefused
from millrace.domain.types import Frozen

Json = dict[str, Any]


def instant_text(text: str) -> str:
    """Text of an instant; Prefect would refuse another, and all events that are sent with it."""
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return text


class Incoming(Frozen):
    """A message of a topic, however it came; `attempt` is 0 when Pub/Sub does not count them."""

    message_id: Annotated[str, Field(min_length=1)]
    publish_time: Annotated[str, AfterValidator(instant_text)]
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
