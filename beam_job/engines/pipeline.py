"""The steps in, a Beam pipeline of them out; it shuffles keys, not rows, and reads the winners' rows again.

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

Address = tuple[str, str]


class Step(beam.DoFn):  # type: ignore[misc]  # Beam has no types
    """A step of one attempt; each worker opens the lake once.

    `folder` is for tables between the steps if all workers run on one machine; otherwise it is empty.
    """

    def __init__(self, lake: Address, work: Work, folder: str) -> None:
        self._lake, self._attempt, self.folder = lake, work.attempt, folder
        self._contract, self._batch = work.contract.model_dump_json(), work.batch.model_dump_json()

    def setup(self) -> None:
        """Open the lake."""
        contract, batch = StreamContract.model_validate_json(self._contract), Batch.model_validate_json(self._batch)
        self.work = Work(open_lake(*self._lake), contract, batch, self._attempt)


class ReadKeys(Step):
    """Number of a unit → (shard, keys)."""

    def process(self, unit: int, shards: int, rejected: dict[int, str]) -> Iterator[tuple[int, bytes]]:
        """Read one unit."""
        for shard, keys in read_keys(self.work, self.work.units[unit], shards, rejected):
            yield shard, park(keys, self.folder)


class PickWinners(Step):
    """(shard, keys) → (number of a unit, winning rows)."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        """Pick the winners of one shard."""
        for unit, rows in pick_winners(self.work, element[0], fetch(element[1], self.folder)):
            yield unit, park(rows, self.folder)


class WriteWinners(Step):
    """(number of a unit, winning rows) → staging files."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> None:
        """Write one unit."""
        write_winners(self.work, self.work.units[element[0]], fetch(element[1], self.folder))


def run_pipeline(
    lake: Address,
    work: Work,
    shards: int,
    rejected: dict[int, str],
    folder: str = "",
    *,
    runner: Any = None,
    options: PipelineOptions | None = None,
) -> None:
    """Run the steps once, in-process by default."""
    with beam.Pipeline(runner=runner or FnApiRunner(), options=options or PipelineOptions([])) as pipeline:
        wire(pipeline, lake, work, shards, rejected, folder)


def submit_pipeline(lake: Address, work: Work, shards: int, rejected: dict[int, str], options: PipelineOptions) -> str:
    """Submit the steps to Dataflow and return the id of the running job."""
    pipeline = beam.Pipeline(runner="DataflowRunner", options=options)
    wire(pipeline, lake, work, shards, rejected, "")
    return str(pipeline.run().job_id())


def wire(
    pipeline: beam.Pipeline, lake: Address, work: Work, shards: int, rejected: dict[int, str], folder: str
) -> None:
    """Add the steps to a pipeline."""
    arguments = (lake, work, folder)
    _ = (
        pipeline
        | "units" >> beam.Create(list(range(len(work.units))))
        | "spread units" >> beam.Reshuffle()
        | "read keys" >> beam.ParDo(ReadKeys(*arguments), shards, rejected)
        | "by shard" >> beam.GroupByKey()
        | "pick winners" >> beam.ParDo(PickWinners(*arguments))
        | "by unit" >> beam.GroupByKey()
        | "write winners" >> beam.ParDo(WriteWinners(*arguments))
    )
