"""Tells the world that a batch was merged."""

import logging
from datetime import datetime

from millrace.domain.batch import Balance, Batch
from millrace.domain.events import WarehouseMerged
from millrace.domain.ledger import LedgerEntry
from millrace.events.bus import EventBus
from millrace.warehouse.port import Warehouse

log = logging.getLogger(__name__)


def merged(batch: Batch, balance: Balance) -> WarehouseMerged:
    """What is told of a committed batch."""
    return WarehouseMerged(source=batch.source, stream=batch.stream, batch_id=batch.id, balance=balance)


def told_again(entry: LedgerEntry) -> WarehouseMerged:
    """What is told of a merge, or of erased keys, by the fact in the ledger."""
    balance = Balance.model_validate(entry.model_dump(include=set(Balance.model_fields)))
    return WarehouseMerged(source=entry.source, stream=entry.stream, batch_id=entry.batch_id, balance=balance)


def announce(bus: EventBus, warehouse: Warehouse, message: WarehouseMerged, *, run_id: str, at: datetime) -> str:
    """Publish `warehouse-merged`, then note it in the ledger; again is harmless: readers ask the ledger what to do.

    Raises:
        ServiceUnavailable: Pub/Sub did not take it.
    """
    message_id = bus.publish(message)
    warehouse.append(
        LedgerEntry(
            kind="announced",
            batch_id=message.batch_id,
            source=message.source,
            stream=message.stream,
            run_id=run_id,
            at=at,
            detail=message_id,
        )
    )
    fields = {"batch_id": message.batch_id, "message_id": message_id}
    log.info("merge.announced", extra={"event": "merge.announced", "fields": fields})
    return message_id
