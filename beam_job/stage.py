"""Deduplicates a batch into staging files, by the engine that its size chose."""

import tempfile
from typing import TYPE_CHECKING

from beam_job.attempts import stage
from beam_job.engines.options import Dataflow, check, pipeline_options
from beam_job.engines.plain import run_steps
from beam_job.steps.work import Work
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, Staged
from millrace.lake.store import Lake

if TYPE_CHECKING:
    from beam_job.engines.dataflow import DataflowRun

SHARD_ROWS = 2_000_000
ROW_BYTES = 50  # compressed; where a manifest does not know its rows


def stage_batch(lake: Lake, contract: StreamContract, batch: Batch, dataflow: Dataflow | None = None) -> Staged:
    """Keep one winner per key and register; each attempt has files of its own.

    Args:
        lake: where the batch's objects are, and the staging files go.
        contract: the stream's.
        batch: the open batch.
        dataflow: where a batch runs that is too large for one process.

    Raises:
        SettingsError: the batch is for Dataflow and a setting is missing.
        DataflowFailed: Dataflow refused the job, or it ended without success.
        StagingLost: another merge closed the batch meanwhile; stage again.
        FileVanished: an object went while it was read; stage again.
    """

    if batch.engine == "dataflow":
        remote = on_dataflow(lake, batch, check(batch, dataflow))
        return stage(lake, contract, batch, remote, remote.resumes)

    def run(known: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        work = Work(lake, known, batch, attempt)
        if batch.engine == "plain":
            run_steps(work, shards(batch), rejected)
        else:
            _run_beam(work, shards(batch), rejected)

    return stage(lake, contract, batch, run)


def _run_beam(work: Work, shards: int, rejected: dict[int, str]) -> None:
    from beam_job.engines.pipeline import run_pipeline  # imports Beam, which most processes do not need

    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        run_pipeline((work.lake.url, work.lake.endpoint), work, shards, rejected, folder)


def on_dataflow(lake: Lake, batch: Batch, dataflow: Dataflow) -> "DataflowRun":
    """The batch as a Dataflow job."""
    from beam_job.engines.dataflow import DataflowRun  # imports Google's client, which most merges do not need
    from beam_job.engines.dataflow_jobs import DataflowJobs

    def submit(known: StreamContract, rejected: dict[int, str], arguments: str, attempt: str) -> str:
        from beam_job.engines.pipeline import submit_pipeline

        options = pipeline_options(batch, dataflow, arguments, attempt)
        place = (lake.url, lake.endpoint)
        return submit_pipeline(place, Work(lake, known, batch, attempt), shards(batch), rejected, options)

    settings = dataflow.settings
    jobs = DataflowJobs(dataflow.project, settings["region"], settings.get("endpoint", ""))
    return DataflowRun(jobs, lake, batch, submit, dataflow.run_id, settings.get("poll_s", 15))


def shards(batch: Batch) -> int:
    """Into how many parts keys are divided, each of which is sorted in memory."""
    rows = sum(o.size // ROW_BYTES if o.rows is None else o.rows for o in batch.objects)
    return max(1, -(-rows // SHARD_ROWS))
