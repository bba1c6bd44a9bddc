"""Erases keys permanently, and announces the erasure so that the marts are built without them."""

from datetime import UTC, datetime

from beam_job.announce import announce, message_from_ledger
from beam_job.erase import erase, fact, request
from millrace.domain.ledger import LedgerEntry
from tasks.context import open_bus, open_lake, open_warehouse, run_id, stream_contract
from tasks.retries import transient_task


@transient_task(task_run_name="erase keys of {source}.{stream}", retries=3)
def erase_keys(source: str, stream: str, keys: list[dict[str, str]], reason: str) -> LedgerEntry:
    """Store the request in the lake, then erase in the warehouse; returns the ledger's entry. Idempotent by the keys.

    Raises:
        UnknownStream: no such source or stream.
        EventRefused: the keys do not have the stream's key columns, or the reason is empty.
    """
    contract, lake, warehouse, now = stream_contract(source, stream), open_lake(), open_warehouse(), datetime.now(UTC)
    erasure = request(lake, contract, keys, reason, now)
    erase(lake, warehouse, contract, now)
    return fact(warehouse, erasure)


@transient_task(task_run_name="announce {fact.batch_id}", retries=5)
def announce_erasure(fact: LedgerEntry) -> str:
    """Publish the erasure as a merge, which starts the model; returns the message's id."""
    return announce(open_bus(), open_warehouse(), message_from_ledger(fact), run_id=run_id(), at=datetime.now(UTC))
