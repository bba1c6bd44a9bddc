"""Runs the Beam job that deduplicates a batch into staging files."""

from beam_job.engines.options import Dataflow
from beam_job.stage import stage_batch as run_steps
from millrace.domain import names
from millrace.domain.batch import Batch, Staged
from millrace.settings import load_settings
from tasks.context import open_lake, run_id, stream_contract
from tasks.retries import transient_task


@transient_task(task_run_name="stage {batch.id}", tags=[names.STEP_TAG], retries=3)
def stage_batch(batch: Batch) -> Staged:
    """Write one winner per key and register of a batch as Parquet; a repeat overwrites the same files."""
    settings = load_settings()
    dataflow = Dataflow(settings.events.project, settings.beam.dataflow.model_dump(), run_id())
    return run_steps(open_lake(), stream_contract(batch.source, batch.stream), batch, dataflow)
