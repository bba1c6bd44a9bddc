"""The Beam job: wiring only. Keys are shuffled, not rows; the winners' rows are read again from their files.

objects → read keys → GroupByKey by shard → pick winners → GroupByKey by object → write winners' rows as Parquet
"""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_job.reports import stage
from beam_job.staging import pick_winners, read_keys, write_winners
from beam_job.work import Work
from contracts.batch import Batch, Staged
from contracts.stream import StreamContract
from lake.store import open_lake

SHARD_ROWS = 2_000_000


class Step(beam.DoFn):  # type: ignore[misc]
    """A function of the work at hand; each worker opens the lake once."""

    def __init__(self, lake_url: str, lake_endpoint: str, contract: StreamContract, batch: Batch) -> None:
        self._place = (lake_url, lake_endpoint)
        self._contract, self._batch = contract.model_dump_json(), batch.model_dump_json()

    def setup(self) -> None:
        """Open the lake."""
        contract, batch = StreamContract.model_validate_json(self._contract), Batch.model_validate_json(self._batch)
        self.work = Work(open_lake(*self._place), contract, batch)


class ReadKeys(Step):
    """Object's place → (shard, keys)."""

    def process(self, place: int, shards: int, rejected: dict[int, str]) -> Iterator[tuple[int, bytes]]:
        """One object."""
        yield from read_keys(self.work, place, shards, rejected)


class PickWinners(Step):
    """(shard, keys) → (object's place, winning rows)."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        """One shard."""
        yield from pick_winners(self.work, *element)


class WriteWinners(Step):
    """(object's place, winning rows) → staging files."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> None:
        """One object."""
        write_winners(self.work, *element)


def stage_batch(
    lake_url: str, lake_endpoint: str, contract: StreamContract, batch: Batch, options: PipelineOptions | None = None
) -> Staged:
    """Deduplicate a batch into staging files; a repeat overwrites the same files.

    Raises:
        ObjectMissing: the lake lost a report; stage again.
    """

    def run_steps(known: StreamContract, rejected: dict[int, str]) -> None:
        run((lake_url, lake_endpoint, known, batch), options, rejected)

    return stage(open_lake(lake_url, lake_endpoint), contract, batch, run_steps)


def run(
    place: tuple[str, str, StreamContract, Batch], options: PipelineOptions | None, rejected: dict[int, str]
) -> None:
    """Run the pipeline once."""
    batch = place[3]
    shards = max(1, sum(o.rows or 0 for o in batch.objects) // SHARD_ROWS)
    runner: Any = "DataflowRunner" if batch.engine == "dataflow" else FnApiRunner()
    with beam.Pipeline(runner=runner, options=options or PipelineOptions([])) as pipeline:
        _ = (
            pipeline
            | "objects" >> beam.Create(list(range(len(batch.objects))))
            | "spread objects" >> beam.Reshuffle()
            | "read keys" >> beam.ParDo(ReadKeys(*place), shards, rejected)
            | "by shard" >> beam.GroupByKey()
            | "pick winners" >> beam.ParDo(PickWinners(*place))
            | "by object" >> beam.GroupByKey()
            | "write winners" >> beam.ParDo(WriteWinners(*place))
        )
