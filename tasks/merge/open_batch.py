"""Opens the batch of a merge: pending manifests in, a stored list of objects out, before any of them is read."""

from datetime import UTC, datetime

from beam_job.batches import Limits
from beam_job.batches import open_batch as open_next_batch
from millrace.domain.batch import Batch
from millrace.settings import load_settings
from tasks.context import open_lake, open_warehouse, stream_contract
from tasks.retries import uncached_task


@uncached_task(task_run_name="open batch of {source}.{stream}", retries=3)
def open_batch(source: str, stream: str, full_scan: bool = False) -> Batch | None:
    """Return the open batch, or open one of the pending manifests; None when none is pending.

    Raises:
        UnknownStream: no such source or stream.
    """
    beam = load_settings().beam
    return open_next_batch(
        open_lake(),
        open_warehouse(),
        stream_contract(source, stream),
        limits=Limits(
            max_bytes=beam.batch_max_bytes,
            max_files=beam.batch_max_files,
            plain_max_bytes=beam.plain_max_bytes,
            in_process_max_bytes=beam.in_process_max_bytes,
            plain_max_rows=beam.plain_max_rows,
            in_process_max_rows=beam.in_process_max_rows,
        ),
        now=datetime.now(UTC),
        full_scan=full_scan,
    )
