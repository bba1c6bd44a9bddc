"""Fixes what a merge works on, before it works."""

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from beam_job.batches import Limits
from beam_job.batches import open_batch as open_next_batch
from millrace.domain.batch import Batch
from millrace.settings import load_settings
from tasks.context import open_lake, open_warehouse, stream_contract
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="open batch of {source}.{stream}",
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def open_batch(source: str, stream: str, audit: bool = False) -> Batch | None:
    """The batch under way, or one of all that is pending; None when nothing is. Never answered from a cache.

    Raises:
        UnknownStream: no such source or stream.
    """
    beam = load_settings().beam
    return open_next_batch(
        open_lake(),
        open_warehouse(),
        stream_contract(source, stream),
        limits=Limits(beam.batch_max_bytes, beam.batch_max_files, beam.plain_max_bytes, beam.in_process_max_bytes),
        now=datetime.now(UTC),
        audit=audit,
    )
