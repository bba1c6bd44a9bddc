"""Lets quarantined objects be merged once more."""

from datetime import UTC, datetime

from prefect import task

from beam_job.redrive import redrive
from tasks.context import open_lake, open_warehouse, run_id, stream_contract
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="redrive {source}.{stream}", retries=3, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient
)
def redrive_quarantine(source: str, stream: str, objects: list[str] | None) -> int:
    """Let a stream's quarantined objects (or those named) in again; returns how many. Again, before the merge: none.

    Raises:
        UnknownStream: no such source or stream.
        FileRejected: a named object is not in quarantine.
    """
    contract = stream_contract(source, stream)
    done = redrive(
        open_lake(), open_warehouse(), contract, objects=objects or (), run_id=run_id(), at=datetime.now(UTC)
    )
    return done.admitted + done.mended
