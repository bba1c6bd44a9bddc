"""A message of a topic as a type, whether it was pushed or pulled."""

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from millrace.domain.errors import EventRefused
from millrace.domain.types import Frozen

Json = dict[str, Any]


def instant_text(text: str) -> str:
    """Return the text of a time with its zone; Prefect rejects other texts, and all events of the same request."""
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return text


class Incoming(Frozen):
    """A message of a topic; `attempt` is 0 when Pub/Sub does not count attempts."""

    message_id: Annotated[str, Field(min_length=1)]
    publish_time: Annotated[str, AfterValidator(instant_text)]
    attributes: dict[str, str] = Field(default_factory=dict)
    data: bytes = b""
    attempt: int = 0

    def attribute(self, name: str, default: str = "") -> str:
        """Return an attribute; in an unwrapped push it is a header, whose name is in lower case."""
        return self.attributes.get(name) or self.attributes.get(name.lower()) or default

    def body(self) -> Json:
        """Return the data as a JSON object; {} without data.

        Raises:
            EventRefused: the data is not a JSON object.
        """
        try:
            body = json.loads(self.data or b"{}")
        except (ValueError, RecursionError) as error:
            raise EventRefused(f"message {self.message_id}: its data is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise EventRefused(f"message {self.message_id}: its data is not a JSON object")
        return body
