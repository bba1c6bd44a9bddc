"""Asks lake and ledger, for every stream, what is left to do."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from beam_job.batches import pending
from contracts.model import unannounced, unpublished
from contracts.source import find_source, load_sources
from tasks.place import open_lake, open_warehouse
from tasks.retries import DELAYS_S, is_transient
from tasks.source import SOURCES


@task(task_run_name="look for unmerged landings", retries=2, retry_delay_seconds=DELAYS_S,
      retry_condition_fn=is_transient, cache_policy=NO_CACHE)  # fmt: skip
def find_unmerged(source: str | None) -> dict[str, int]:
    """Streams with landings that the ledger lacks: `<source>.<stream>` → how many."""
    sources = load_sources(SOURCES)
    wanted = [find_source(sources, source)] if source else list(sources.values())
    lake = open_lake()
    warehouse = open_warehouse()
    counts = {s.id: len(pending(lake, warehouse, s)) for c in wanted for s in c.streams.values()}
    return {stream: count for stream, count in counts.items() if count}


@task(task_run_name="look for unpublished merges", retries=2, retry_delay_seconds=DELAYS_S,
      retry_condition_fn=is_transient, cache_policy=NO_CACHE)  # fmt: skip
def find_unpublished() -> dict[str, int]:
    """What a model run has left to do: `merge not published`, `publication not announced` → how many."""
    ledger = open_warehouse().ledger(kinds=("merged", "published", "announced"))
    work, newest = unpublished(ledger), unannounced(ledger)
    found = {"merge not published": len(work.batches) if work else 0, "publication not announced": int(bool(newest))}
    return {what: count for what, count in found.items() if count}
