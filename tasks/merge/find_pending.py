"""Asks the lake and the ledger what is left to do."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from beam_job.batches import pending
from tasks.context import open_lake, open_warehouse, stream_contract
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="look for landings of {source}.{stream}",
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def has_pending(source: str, stream: str, audit: bool = False) -> bool:
    """Whether a stream has manifests that the ledger lacks, or a batch under way; never answered from a cache.

    With `audit` all manifests are looked at, however late one came.

    Raises:
        UnknownStream: no such source or stream.
    """
    contract = stream_contract(source, stream)
    lake = open_lake()
    return bool(pending(lake, open_warehouse(), contract, audit=audit))
