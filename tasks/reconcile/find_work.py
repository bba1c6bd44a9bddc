"""Asks lake and ledger what is left to do, leaving out what a living run is at."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from beam_job.batches import pending, under_way
from millrace.domain.findings import Found
from millrace.domain.model import CHANGES, unannounced, unpublished
from tasks.context import open_lake, open_warehouse, stream_contract
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="look for unmerged landings of {source}.{stream}",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def find_unmerged(source: str, stream: str, audit: bool = False) -> list[Found]:
    """Landings that the ledger lacks (with `audit`, however late they came), and a batch that nobody goes on with."""
    contract, lake = stream_contract(source, stream), open_lake()
    batch = under_way(lake, contract)
    waiting = pending(lake, open_warehouse(), contract, audit=audit)
    landed = [path for path in waiting if not (batch and path in batch.manifests)]
    found = []
    if landed:
        found.append(
            Found(
                kind="landing not merged",
                where=contract.id,
                count=len(landed),
                detail=landed[0],
                source=source,
                stream=stream,
            )
        )
    if batch:
        found.append(
            Found(
                kind="open batch without a run",
                where=contract.id,
                bytes=batch.bytes,
                detail=batch.id,
                source=source,
                stream=stream,
            )
        )
    return found


@task(
    task_run_name="look for unpublished merges",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def find_unpublished() -> list[Found]:
    """What a model run has left to do: merges that no marts have, marts that were not announced."""
    ledger = open_warehouse().ledger(kinds=(*CHANGES, "published", "announced"))
    found, work, newest = [], unpublished(ledger), unannounced(ledger)
    if work:
        streams = ", ".join(work.streams)
        found.append(Found(kind="merge not published", where="marts", count=len(work.batches), detail=streams))
    if newest:
        found.append(Found(kind="publication not announced", where="marts", detail=newest.candidate))
    return found
