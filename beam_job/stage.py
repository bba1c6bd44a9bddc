"""An open batch in, staging files with one winner per key and register out, by the engine of its size."""

import tempfile
from typing import TYPE_CHECKING

from beam_job.attempts import stage
from beam_job.engines.options import Dataflow, check, pipeline_options
from beam_job.engines.plain import run_steps
from beam_job.split import split
from beam_job.steps.work import Work
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, Staged
from millrace.lake.store import Lake

if TYPE_CHECKING:
    from beam_job.engines.dataflow import DataflowRun

SHARD_ROWS = 2_000_000


def stage_batch(lake: Lake, contract: StreamContract, batch: Batch, dataflow: Dataflow | None = None) -> Staged:
    """Keep one winner per key and register; each attempt writes its own files.

    Args:
        lake: the lake of the batch's objects and of the staging files.
        contract: the contract of the stream.
        batch: the open batch.
        dataflow: options for a batch that is too large for one process.

    Raises:
        SettingsError: the batch needs Dataflow and a setting is missing.
        DataflowFailed: Dataflow rejected the job, or the job ended without success.
        StagingLost: another merge closed the batch; stage again.
        FileVanished: an object was deleted while it was read; stage again.
    """

    if batch.engine == "dataflow":
        options, parts = check(batch, dataflow), split(lake, batch)
        remote = on_dataflow(lake, parts, options)
        return stage(lake, contract, parts, remote, remote.resumes)

    def run(evolved: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        work = Work(lake, evolved, batch, attempt)
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
    """Return the batch as a Dataflow job."""
    from beam_job.engines.dataflow import DataflowRun  # imports Google's client, which most merges do not need
    from beam_job.engines.dataflow_jobs import DataflowJobs

    def submit(evolved: StreamContract, rejected: dict[int, str], arguments: str, attempt: str) -> str:
        from beam_job.engines.pipeline import submit_pipeline
        from millrace.lake.gcs import GcsLake

        bucket = str(settings["temp_location"]).removeprefix("gs://").partition("/")[0]
        GcsLake(f"gs://{bucket}", lake.endpoint).check_bucket()  # the SDK would try for minutes what is not allowed
        options = pipeline_options(batch, dataflow, arguments, attempt)
        address = (lake.url, lake.endpoint)
        return submit_pipeline(address, Work(lake, evolved, batch, attempt), shards(batch), rejected, options)

    settings = dataflow.settings
    jobs = DataflowJobs(dataflow.project, settings["region"], settings.get("endpoint", ""))
    return DataflowRun(jobs, lake, batch, submit, dataflow.run_id, settings.get("poll_s", 15))


def shards(batch: Batch) -> int:
    """Return the number of shards of the keys; each shard is sorted in memory."""
    return max(1, -(-batch.rows // SHARD_ROWS))
