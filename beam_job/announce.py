"""A committed batch in, a `warehouse-merged` message and a ledger entry out."""

import logging
from datetime import datetime

from millrace.domain.batch import Balance, Batch
from millrace.domain.events import WarehouseMerged
from millrace.domain.ledger import LedgerEntry, announced_entry
from millrace.events.bus import EventBus
from millrace.observability.events import log_event
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)


def merged_message(batch: Batch, balance: Balance) -> WarehouseMerged:
    """Return the message about a committed batch."""
    return WarehouseMerged(source=batch.source, stream=batch.stream, batch_id=batch.id, balance=balance)


def message_from_ledger(entry: LedgerEntry) -> WarehouseMerged:
    """Return the message about a merge, or about erased keys, from its entry in the ledger."""
    balance = Balance.model_validate(entry.model_dump(include=set(Balance.model_fields)))
    return WarehouseMerged(source=entry.source, stream=entry.stream, batch_id=entry.batch_id, balance=balance)


def announce(bus: EventBus, warehouse: Warehouse, message: WarehouseMerged, *, run_id: str, at: datetime) -> str:
    """Publish `warehouse-merged`, then note it in the ledger; a repeat is harmless, as subscribers rely on the ledger.

    Raises:
        ServiceUnavailable: Pub/Sub did not accept the message.
    """
    message_id = bus.publish(message)
    warehouse.append(
        announced_entry(message.batch_id, run_id, at, message_id, source=message.source, stream=message.stream)
    )
    log_event(log, logging.INFO, "merge.announced", batch_id=message.batch_id, message_id=message_id)
    return message_id
