"""Asks the ledger which merges are not in the marts yet."""

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks import MillraceWarehouse
from blocks import names as block_names
from contracts.ledger import LedgerEntry
from contracts.model import ModelWork
from tasks.retries import DELAYS_S, is_transient


@task(task_run_name="look for merges", retries=3, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient,
      cache_policy=NO_CACHE)  # fmt: skip
def find_merges(full: bool) -> ModelWork | None:
    """Merges since the last published watermark (with `full`, of all time); None when there are none."""
    now = datetime.now(UTC)
    ledger = MillraceWarehouse.load(block_names.WAREHOUSE).open().ledger(kinds=("merged", "published"))
    return unpublished(ledger, now, full=full)


def unpublished(ledger: list[LedgerEntry], now: datetime, *, full: bool) -> ModelWork | None:
    """The merges in the ledger that come after the last published watermark."""
    marks = [datetime.fromisoformat(entry.detail) for entry in ledger if entry.kind == "published"]
    published = None if full else max(marks, default=None)
    merged = [e for e in ledger if e.kind == "merged" and (published is None or e.at > published)]
    if not merged:
        return None
    return ModelWork(
        watermark=max(e.at for e in merged),
        batches=tuple(e.batch_id for e in merged),
        streams=tuple(sorted({f"{e.source}.{e.stream}" for e in merged})),
        rows=sum(e.merged for e in merged),
    )
