"""Erases keys for good, and tells that the marts are to be built without them."""

from datetime import UTC, datetime

from prefect import task

from beam_job.announce import announce, told_again
from beam_job.erase import erase, request
from millrace.domain.ledger import LedgerEntry
from tasks.context import open_bus, open_lake, open_warehouse, run_id, stream_contract
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="erase keys of {source}.{stream}",
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def erase_keys(source: str, stream: str, keys: list[dict[str, str]], reason: str) -> LedgerEntry:
    """Ask for it in the lake, then do it in the warehouse; returns the fact. Again changes nothing.

    Raises:
        UnknownStream: no such source or stream.
        EventRefused: they are no keys of the stream, or there is no reason.
    """
    contract, lake, warehouse, now = stream_contract(source, stream), open_lake(), open_warehouse(), datetime.now(UTC)
    wanted = request(lake, contract, keys, reason, now)
    erase(lake, warehouse, contract, now)
    return next(entry for entry in warehouse.ledger(kinds=("erased",)) if entry.batch_id == wanted.id)


@task(
    task_run_name="announce {fact.batch_id}", retries=5, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient
)
def announce_erasure(fact: LedgerEntry) -> str:
    """Publish it as a merge, which starts the model; returns the message's id."""
    return announce(open_bus(), open_warehouse(), told_again(fact), run_id=run_id(), at=datetime.now(UTC))
