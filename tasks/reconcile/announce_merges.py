"""Publishes merges that were never announced: their run died, or they were made without a bus."""

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from beam_job.announce import announce, told_again
from millrace.domain import names
from millrace.domain.batch import Batch
from millrace.domain.findings import Found, UnderWay
from millrace.domain.ledger import LedgerEntry
from millrace.domain.model import CHANGES, unannounced_merges
from millrace.lake.store import Lake
from tasks.context import open_bus, open_lake, open_warehouse, run_id
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="announce merges",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def announce_merges(source: str | None, under_way: UnderWay, dry_run: bool) -> list[Found]:
    """Merges that the ledger does not call announced, published on `warehouse-merged` now unless `dry_run`.

    Those of a living run and those whose batch is still open are left out: their run, or the next, announces them.

    Raises:
        ServiceUnavailable: Pub/Sub did not take one; the next run announces it.
    """
    warehouse, lake = open_warehouse(), open_lake()
    missing = [
        e
        for e in unannounced_merges(warehouse.ledger(kinds=(*CHANGES, "announced")))
        if source in (None, e.source) and f"{e.source}.{e.stream}" not in under_way.streams and not _is_open(lake, e)
    ]
    for entry in [] if dry_run else missing:
        announce(open_bus(), warehouse, told_again(entry), run_id=run_id(), at=datetime.now(UTC))
    return [Found(kind="merge not announced", where=f"{e.source}.{e.stream}", detail=e.batch_id) for e in missing]


def _is_open(lake: Lake, entry: LedgerEntry) -> bool:
    path = names.open_batch_path(entry.source, entry.stream)
    return lake.stat(path) is not None and Batch.model_validate_json(lake.read(path)).id == entry.batch_id
