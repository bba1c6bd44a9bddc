"""Random schedules with crashes: the warehouse equals the model, and the oracle catches every mutant of the merge."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from hypothesis import HealthCheck, Phase, given, seed, settings

from beam_job.stage import stage_batch
from millrace.domain.batch import Batch, Staged
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from millrace.warehouse.port import Warehouse
from tests.support.mutant_check import expect_fault
from tests.support.mutants import MUTANTS, mutated, named
from tests.support.oracle_streams import STREAMS
from tests.support.schedules import End, Schedule, System, run, schedules

SCHEDULES = int(os.environ.get("MILLRACE_SCHEDULES", "60"))
SEED = int(os.environ.get("MILLRACE_SEED", "2026"))
QUICK = 4  # a seed whose first schedules catch every mutant
PHASES = (Phase.generate, Phase.shrink) if "MILLRACE_SHRINK" in os.environ else (Phase.generate,)  # shrinking is slow
EACH = settings(
    max_examples=-(-SCHEDULES // len(STREAMS)),
    deadline=None,
    database=None,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", STREAMS)
def test_warehouse_equals_the_model(name: str) -> None:
    check_schedules(name, EACH)


class PipelineSystem(System):
    """A stream whose batches go through Beam, into DuckDB files."""

    def __init__(self, schedule: Schedule, lake: Lake, folder: Path) -> None:
        self.folder = folder
        super().__init__(schedule.stream, schedule.max_files, lake, self.new_warehouse())

    def new_warehouse(self) -> Warehouse:
        place = self.folder / uuid.uuid4().hex
        return DuckDBWarehouse(f"duckdb:///{place}/w.duckdb", f"duckdb:///{place}/p.duckdb")

    def stage(self, batch: Batch, end: End = None) -> Staged:
        return stage_batch(self.lake, self.stream.contract, batch)


@pytest.mark.parametrize("name", ["changes by two keys and two log columns", "no key"])
def test_real_pipeline_equals_the_model(name: str, lake: Lake, tmp_path: Path) -> None:
    def system(schedule: Schedule) -> System:
        return PipelineSystem(schedule, new_bucket(lake), tmp_path)

    check_schedules(name, settings(EACH, max_examples=2), system)


@pytest.mark.slow  # it tests the model's strength, which only a change of the merge's or the model's code changes
@pytest.mark.parametrize("mutant", named(MUTANTS))
def test_oracle_catches_a_merge_without_its(mutant: str) -> None:
    with mutated(mutant), expect_fault():
        check_schedules(MUTANTS[mutant][1], settings(EACH, max_examples=100, phases=(Phase.generate,)), start=QUICK)


def new_bucket(lake: Lake) -> Lake:
    """Return an empty lake on the same server."""
    bucket = f"lake-{uuid.uuid4().hex[:12]}"
    client = storage.Client("test", credentials=AnonymousCredentials(), client_options={"api_endpoint": lake.endpoint})
    client.bucket(bucket).create()
    return open_lake(f"gs://{bucket}", lake.endpoint)


def in_memory(schedule: Schedule) -> System:
    return System(schedule.stream, schedule.max_files)


def check_schedules(
    name: str, how: settings, open_place: Callable[[Schedule], System] = in_memory, start: int = SEED
) -> None:
    """Run as many schedules of a stream as the settings demand."""

    @seed(start)
    @how
    @given(schedule=schedules(STREAMS[name]))
    def check(schedule: Schedule) -> None:
        system = open_place(schedule)
        try:
            run(schedule, system)
        finally:
            system.warehouse.close()

    check()
