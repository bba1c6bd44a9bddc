"""The same batch on every engine: without Beam, with Beam in process, and with Beam in worker processes."""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest

from beam_job.attempts import Run, stage
from beam_job.batches import Limits, open_batch
from beam_job.commit import commit_batch
from beam_job.engines.plain import run_steps
from beam_job.steps.work import Work
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, Staged
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.engine import file_of
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from tests.support.merging import NOON, Merging, avro, delete, parquet, upsert

SHARDS = 3
WORKER = f"{sys.executable} -m apache_beam.runners.worker.sdk_worker_main"


def plain(lake: Lake, batch: Batch, folder: Path) -> Run:
    return lambda contract, rejected, attempt: run_steps(Work(lake, contract, batch, attempt), SHARDS, rejected)


def in_process(lake: Lake, batch: Batch, folder: Path) -> Run:
    from beam_job.engines.pipeline import run_pipeline  # imports Beam, which takes a second

    def run(stream: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        work = Work(lake, stream, batch, attempt)
        run_pipeline((lake.url, lake.endpoint), work, SHARDS, rejected, folder=str(folder))

    return run


def worker_processes(lake: Lake, batch: Batch, folder: Path) -> Run:
    from beam_job.engines.pipeline import run_pipeline

    """Run Beam as Dataflow does: workers receive and exchange bytes."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    def run(stream: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        runner = FnApiRunner(default_environment=SubprocessSDKEnvironment(command_string=WORKER))
        options = PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_processing"])
        work = Work(lake, stream, batch, attempt)
        with mock.patch(
            "beam_job.engines.pipeline.read_keys", side_effect=AssertionError("this is not a worker's process")
        ):
            run_pipeline((lake.url, lake.endpoint), work, SHARDS, rejected, runner=runner, options=options)

    return run


@contextmanager
def small_memory() -> Iterator[None]:
    """Set limits so low that every file is read in parts and every shard is reduced as it grows."""
    with ExitStack() as stack:
        for name, bound in (
            ("files.CHUNK_ROWS", 7),
            ("read.CHUNK_ROWS", 11),
            ("files.WHOLE_BYTES", 500),
            ("units.UNIT_BYTES", 1),
            ("winners.HELD_ROWS", 5),
        ):
            stack.enter_context(mock.patch(f"beam_job.steps.{name}", bound))
        yield


@pytest.fixture
def merging(lake: Lake, tmp_path: Path) -> Merging:
    """Return updates, deletes, late, equal and bad rows and a broken file, in Parquet and Avro, over several syncs."""
    merging = Merging(lake, tmp_path)
    merging.land(rows=[upsert(key, 100 + key) for key in range(200)])
    merging.land(
        merging.put(parquet([upsert(key % 50, 300 + key) for key in range(400)]), part=0),
        merging.put(avro([delete(key, 350 + key) for key in range(0, 200, 3)]), "avro", part=1),
        merging.put(parquet([upsert(7, 20), upsert(None, 30), delete(400, 1)]), part=2),
        merging.put(b"no Parquet", part=3),
    )
    merging.land(rows=[upsert(key, 350, "late") for key in range(60)])
    return merging


def table_by(merging: Merging, folder: Path, engine: Callable[[Lake, Batch, Path], Run]) -> tuple[Staged, list[Any]]:
    """Return the files that an engine staged, and every row and register of the resulting table."""
    warehouse = DuckDBWarehouse(f"duckdb:///{folder}/warehouse.duckdb", f"duckdb:///{folder}/published.duckdb")
    batch = open_batch(merging.lake, warehouse, merging.contract, limits=Limits(), now=NOON)
    assert batch is not None
    (folder / "spill").mkdir(parents=True)
    numbers = itertools.count(1)
    staged = stage(
        merging.lake,
        merging.contract,
        batch,
        engine(merging.lake, batch, folder / "spill"),
        name_attempt=lambda: f"attempt{next(numbers)}",
    )
    commit_batch(merging.lake, warehouse, merging.contract, batch, staged, run_id="test", at=NOON)
    with duckdb.connect(str(file_of(warehouse.url)), read_only=True) as db:
        return staged, db.execute("FROM raw_shop.orders ORDER BY ALL").fetchall()


@pytest.mark.slow
def test_every_engine_gives_the_same_table(merging: Merging, tmp_path: Path) -> None:
    staged, rows = table_by(merging, tmp_path / "plain", plain)
    assert len(rows) == 201
    assert (staged.rows_in, len(staged.quarantined)) == (731, 2)
    for engine in (in_process, worker_processes):
        assert table_by(merging, tmp_path / engine.__name__, engine) == (staged, rows), engine.__name__


def test_memory_limits_change_only_file_counts(merging: Merging, tmp_path: Path) -> None:
    staged, rows = table_by(merging, tmp_path / "whole", plain)
    with small_memory():
        parts, staged_rows = table_by(merging, tmp_path / "parts", plain)
    assert staged_rows == rows
    assert len(parts.upserts) > len(staged.upserts) == 1
    same = ("rows_in", "superseded", "quarantined", "drift", "columns")
    assert [getattr(parts, name) for name in same] == [getattr(staged, name) for name in same]


def test_file_of_bad_rows_is_quarantined_whole(lake: Lake, tmp_path: Path) -> None:
    merging = Merging(lake, tmp_path, limits=Limits())
    merging.land(rows=[upsert(1, 1), upsert(2, 1)])
    merging.land(rows=[upsert(1, 5), *(upsert(None, 6) for _ in range(4))])
    with mock.patch("beam_job.steps.read.MAX_QUARANTINED_ROWS", 3):
        assert [(b.merged, b.quarantined) for b in merging.merge()] == [(2, 5)]
    assert merging.live() == {1: "v1", 2: "v1"}
    ((reason, detail),) = merging.query("SELECT reason, detail FROM ops.quarantine")
    assert reason == "file.rows"
    assert "more than 3 rows are invalid; first key.null" in detail


@pytest.mark.parametrize(
    ("size", "engine"), [(0, "plain"), (10, "plain"), (11, "in-process"), (20, "in-process"), (21, "dataflow")]
)
def test_size_decides_the_engine(size: int, engine: str) -> None:
    assert Limits(plain_max_bytes=10, in_process_max_bytes=20).engine(size, 1) == engine


@pytest.mark.parametrize(("rows", "engine"), [(10, "plain"), (11, "in-process"), (20, "in-process"), (21, "dataflow")])
def test_rows_decide_the_engine_of_a_small_batch(rows: int, engine: str) -> None:
    assert Limits(plain_max_rows=10, in_process_max_rows=20).engine(1, rows) == engine


def test_narrow_rows_open_a_batch_for_beam(lake: Lake, tmp_path: Path) -> None:
    merging = Merging(lake, tmp_path, limits=Limits(plain_max_rows=3))
    merging.land(rows=[upsert(number, 1) for number in range(4)])
    batch = open_batch(lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert batch is not None
    assert (batch.rows, batch.engine) == (4, "in-process")


def test_open_batch_moves_to_a_larger_engine_only(lake: Lake, tmp_path: Path) -> None:
    merging = Merging(lake, tmp_path, limits=Limits())
    merging.land(rows=[upsert(1, 1), upsert(2, 1)])

    def engine(limits: Limits) -> str:
        batch = open_batch(lake, merging.warehouse, merging.contract, limits=limits, now=NOON)
        assert batch is not None
        return batch.engine

    assert engine(Limits()) == "plain"
    assert engine(Limits(plain_max_rows=1)) == "in-process"
    assert engine(Limits(plain_max_rows=1, in_process_max_rows=1)) == "dataflow"
    assert engine(Limits()) == "plain", "it was stored as it was opened"
