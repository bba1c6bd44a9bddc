"""The messages that the platform publishes, as types; their attributes hold every field that a trigger needs."""

from typing import Literal

from millrace.domain import names
from millrace.domain.airbyte import AirbyteCompleted
from millrace.domain.batch import Balance
from millrace.domain.types import Frozen, Name


class WarehouseMerged(Frozen):
    """A batch was committed."""

    v: Literal[1] = 1
    source: Name
    stream: Name
    batch_id: str
    balance: Balance

    @property
    def topic(self) -> str:
        """Return the topic of this message."""
        return names.WAREHOUSE_MERGED


class MartsPublished(Frozen):
    """The marts were replaced."""

    v: Literal[1] = 1
    run_id: str
    marts: dict[str, int]
    batches: int

    @property
    def topic(self) -> str:
        """Return the topic of this message."""
        return names.MARTS_PUBLISHED


class IngestRequested(Frozen):
    """A request for a sync."""

    v: Literal[1] = 1
    source: Name
    streams: tuple[Name, ...] | None = None
    reason: str = ""

    @property
    def topic(self) -> str:
        """Return the topic of this message."""
        return names.INGEST_REQUESTED


Message = WarehouseMerged | MartsPublished | IngestRequested | AirbyteCompleted


def attributes(message: Message) -> dict[str, str]:
    """Return the Pub/Sub attributes of a message: its scalar fields as text."""
    data = message.model_dump(mode="json")
    return {key: str(value) for key, value in data.items() if isinstance(value, str | int)}
