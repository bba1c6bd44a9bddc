"""Deduplicates a batch into staging files, by the engine that its size chose."""

import tempfile
from typing import Any

from beam_job.plain import run_steps
from beam_job.reports import stage
from beam_job.work import Work
from contracts.batch import Batch, Staged
from contracts.stream import StreamContract
from lake.store import Lake

SHARD_ROWS = 2_000_000
ROW_BYTES = 50  # compressed; where a manifest does not know its rows


def stage_batch(lake: Lake, contract: StreamContract, batch: Batch, options: Any = None) -> Staged:
    """Keep one winner per key and register, as Parquet; a repeat overwrites the same files.

    Args:
        lake: where the batch's objects are, and the staging files go.
        contract: the stream's.
        batch: the open batch.
        options: Beam's `PipelineOptions`, for Dataflow.

    Raises:
        ObjectMissing: the lake lost a report; stage again.
        FileVanished: an object went while it was read; stage again.
    """

    def run(known: StreamContract, rejected: dict[int, str]) -> None:
        work = Work(lake, known, batch)
        if batch.engine == "plain":
            run_steps(work, shards(batch), rejected)
        else:
            _run_beam(work, shards(batch), rejected, options)

    return stage(lake, contract, batch, run)


def _run_beam(work: Work, shards: int, rejected: dict[int, str], options: Any) -> None:
    from beam_job.pipeline import run_pipeline  # imports Beam, which most processes do not need

    place = (work.lake.url, work.lake.endpoint)
    if work.batch.engine == "dataflow":
        run_pipeline(place, work, shards, rejected, runner="DataflowRunner", options=options)
        return
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        run_pipeline(place, work, shards, rejected, options=options, folder=folder)


def shards(batch: Batch) -> int:
    """Into how many parts keys are divided, each of which is sorted in memory."""
    rows = sum(o.size // ROW_BYTES if o.rows is None else o.rows for o in batch.objects)
    return max(1, -(-rows // SHARD_ROWS))
