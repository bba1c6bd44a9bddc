"""The Beam job: wiring only. Keys are shuffled, not rows; the winners' rows are read again from their files.

units of objects → read keys → GroupByKey by shard → pick winners → GroupByKey by unit → write rows as Parquet
"""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_job.steps.read import read_keys
from beam_job.steps.spill import fetch, park
from beam_job.steps.winners import pick_winners
from beam_job.steps.work import Work
from beam_job.steps.write import write_winners
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch
from millrace.lake.open import open_lake

Place = tuple[str, str]


class Step(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """A function of the work at hand; each worker opens the lake once.

    `folder` is on the machine of all workers, for what goes from step to step, or "" where there are several.
    """

    def __init__(self, lake: Place, work: Work, folder: str) -> None:
        self._lake, self._attempt, self.folder = lake, work.attempt, folder
        self._contract, self._batch = work.contract.model_dump_json(), work.batch.model_dump_json()

    def setup(self) -> None:
        """Open the lake."""
        contract, batch = StreamContract.model_validate_json(self._contract), Batch.model_validate_json(self._batch)
        self.work = Work(open_lake(*self._lake), contract, batch, self._attempt)


class ReadKeys(Step):
    """Unit's number → (shard, keys)."""

    def process(self, unit: int, shards: int, rejected: dict[int, str]) -> Iterator[tuple[int, bytes]]:
        """One unit."""
        for shard, keys in read_keys(self.work, self.work.units[unit], shards, rejected):
            yield shard, park(keys, self.folder)


class PickWinners(Step):
    """(shard, keys) → (unit's number, winning rows)."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        """One shard."""
        for unit, rows in pick_winners(self.work, element[0], fetch(element[1], self.folder)):
            yield unit, park(rows, self.folder)


class WriteWinners(Step):
    """(unit's number, winning rows) → staging files."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> None:
        """One unit."""
        write_winners(self.work, self.work.units[element[0]], fetch(element[1], self.folder))


def run_pipeline(
    lake: Place,
    work: Work,
    shards: int,
    rejected: dict[int, str],
    folder: str = "",
    *,
    runner: Any = None,
    options: PipelineOptions | None = None,
) -> None:
    """Run the steps once, in process unless a runner is given."""
    with beam.Pipeline(runner=runner or FnApiRunner(), options=options or PipelineOptions([])) as pipeline:
        wire(pipeline, lake, work, shards, rejected, folder)


def submit_pipeline(lake: Place, work: Work, shards: int, rejected: dict[int, str], options: PipelineOptions) -> str:
    """Give the steps to Dataflow; returns the id of the job, which then runs."""
    pipeline = beam.Pipeline(runner="DataflowRunner", options=options)
    wire(pipeline, lake, work, shards, rejected, "")
    return str(pipeline.run().job_id())


def wire(pipeline: beam.Pipeline, lake: Place, work: Work, shards: int, rejected: dict[int, str], folder: str) -> None:
    """Put the steps into a pipeline."""
    place = (lake, work, folder)
    _ = (
        pipeline
        | "units" >> beam.Create(list(range(len(work.units))))
        | "spread units" >> beam.Reshuffle()
        | "read keys" >> beam.ParDo(ReadKeys(*place), shards, rejected)
        | "by shard" >> beam.GroupByKey()
        | "pick winners" >> beam.ParDo(PickWinners(*place))
        | "by unit" >> beam.GroupByKey()
        | "write winners" >> beam.ParDo(WriteWinners(*place))
    )
