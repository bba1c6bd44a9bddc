"""Announces merges that were never announced: their run died, or had no event bus."""

from datetime import UTC, datetime

from beam_job.announce import announce, message_from_ledger
from millrace.domain import names
from millrace.domain.batch import Batch
from millrace.domain.findings import ActiveWork, Gap
from millrace.domain.ledger import LedgerEntry
from millrace.lake.store import Lake
from tasks.context import open_bus, open_lake, open_warehouse, run_id
from tasks.retries import uncached_task


@uncached_task(task_run_name="announce merges", retries=2)
def announce_merges(source: str | None, under_way: ActiveWork, dry_run: bool) -> list[Gap]:
    """Return the merges without an announcement in the ledger, after announcing them on `warehouse-merged`.

    A merge of an active run, or of a batch that is still open, is left to that run or the next one. With `dry_run`
    nothing is announced.

    Raises:
        ServiceUnavailable: Pub/Sub did not accept one; the next run announces it.
    """
    warehouse, lake = open_warehouse(), open_lake()
    missing = [
        e
        for e in warehouse.unannounced()
        if source in (None, e.source) and f"{e.source}.{e.stream}" not in under_way.streams and not _is_open(lake, e)
    ]
    for entry in [] if dry_run else missing:
        announce(open_bus(), warehouse, message_from_ledger(entry), run_id=run_id(), at=datetime.now(UTC))
    return [Gap(kind="merge not announced", where=f"{e.source}.{e.stream}", detail=e.batch_id) for e in missing]


def _is_open(lake: Lake, entry: LedgerEntry) -> bool:
    path = names.open_batch_path(entry.source, entry.stream)
    return lake.stat(path) is not None and Batch.model_validate_json(lake.read(path)).id == entry.batch_id
