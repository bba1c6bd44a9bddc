"""Redrives quarantined objects of a stream: the next merge reads them again."""

from datetime import UTC, datetime

from beam_job.redrive import redrive
from tasks.context import open_lake, open_warehouse, run_id, stream_contract
from tasks.retries import transient_task


@transient_task(task_run_name="redrive {source}.{stream}", retries=3)
def redrive_quarantine(source: str, stream: str, objects: list[str] | None) -> int:
    """Make all quarantined objects of a stream, or the named ones, pending again; returns their number, then 0.

    Raises:
        UnknownStream: no such source or stream.
        FileRejected: a named object is not in quarantine.
    """
    contract = stream_contract(source, stream)
    result = redrive(
        open_lake(), open_warehouse(), contract, objects=objects or (), run_id=run_id(), at=datetime.now(UTC)
    )
    return result.admitted + result.repaired
