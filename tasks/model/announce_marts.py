"""Publishes that the marts were replaced."""

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.domain.events import MartsPublished
from millrace.domain.ledger import LedgerEntry
from millrace.domain.model import unannounced
from tasks.context import open_bus, open_warehouse
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="announce marts",
    retries=5,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def announce_marts() -> str:
    """Publish `marts-published` for the newest marts, whichever run published them; returns the message's id.

    The ledger remembers which were announced, so that none is forgotten; '' when there is nothing to announce.

    Raises:
        ServiceUnavailable: Pub/Sub did not take it; the next run announces it.
    """
    warehouse = open_warehouse()
    newest = unannounced(warehouse.ledger(kinds=("published", "announced")))
    if newest is None:
        return ""
    message = MartsPublished(run_id=newest.run_id, marts=warehouse.marts(), batches=newest.batches)
    message_id = open_bus().publish(message)
    warehouse.append(
        LedgerEntry(
            kind="announced",
            batch_id=newest.candidate,
            source="",
            stream="",
            run_id=newest.run_id,
            at=datetime.now(UTC),
            detail=message_id,
        )
    )
    return message_id
