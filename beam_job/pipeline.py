"""The Beam job: wiring only. Keys are shuffled, not rows; the winners' rows are read again from their files.

objects → read keys → GroupByKey by shard → pick winners → GroupByKey by object → write winners' rows as Parquet
"""

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_job.staging import Work, pick_winners, read_keys, write_winners
from contracts import names
from contracts.batch import Batch, QuarantinedRow, Staged
from contracts.stream import StreamContract
from lake.store import Lake, open_lake

log = logging.getLogger(__name__)

SHARD_ROWS = 2_000_000
QUARANTINE_SAMPLE = 5


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
    lake = open_lake(lake_url, lake_endpoint)
    place = (lake_url, lake_endpoint, contract, batch)
    rejected: dict[int, str] = {}
    run(lake, place, options, rejected)
    while broken := find_broken(lake, batch):
        rejected |= broken  # its rows took part in choosing winners: choose again without them
        run(lake, place, options, rejected)
    staged = collect(lake, batch)
    fields = {"batch_id": batch.id, "rows_in": staged.rows_in, "superseded": staged.superseded,
              "quarantined": sum(q.rows for q in staged.quarantined), "files": len(batch.objects)}  # fmt: skip
    log.info("merge.staged", extra={"event": "merge.staged", "fields": fields})
    return staged


def run(
    lake: Lake, place: tuple[str, str, StreamContract, Batch], options: PipelineOptions | None, rejected: dict[int, str]
) -> None:
    """Run the pipeline once, from an empty staging folder."""
    batch = place[3]
    for leftover in lake.list(names.staging_prefix(batch.id)):
        lake.delete(leftover.name)
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


def find_broken(lake: Lake, batch: Batch) -> dict[int, str]:
    """Objects whose rows could not be read, by place, with the reason."""
    prefix = f"{names.staging_prefix(batch.id)}broken-"
    found = [info.name for info in lake.list(prefix)]
    return {int(n.removeprefix(prefix).removesuffix(".json")): json.loads(lake.read(n))["why"] for n in found}


def collect(lake: Lake, batch: Batch) -> Staged:
    """What the steps left, out of their files and reports."""
    found = [info.name for info in lake.list(names.staging_prefix(batch.id))]
    reports = {n: json.loads(lake.read(n)) for n in found if n.endswith(".json")}
    kind = {n: n.rsplit("/", 1)[1].split("-")[0] for n in found}
    read = [r for n, r in reports.items() if kind[n] == "read"]
    shards = [r for n, r in reports.items() if kind[n] == "shard"]
    quarantined = [QuarantinedRow.model_validate(q) for r in read for q in r["quarantined"]]
    for refusal in quarantined[:QUARANTINE_SAMPLE]:
        event = "quarantine.file" if refusal.row is None else "quarantine.rows"
        log.warning("%s: %s", event, refusal.detail, extra={"event": event, "fields": refusal.model_dump()})
    return Staged(
        batch_id=batch.id,
        upserts=tuple(n for n in found if n.endswith(".parquet") and kind[n] == "upserts"),
        deletes=tuple(n for n in found if n.endswith(".parquet") and kind[n] == "deletes"),
        rows_in=sum(r["rows"] for r in read),
        superseded=sum(r["ignored"] for r in read) + sum(r["rows"] - r["winners"] for r in shards),
        quarantined=tuple(quarantined),
    )
