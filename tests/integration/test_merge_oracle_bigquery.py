"""The oracle of the merge on BigQuery: fewer schedules than on DuckDB, as a commit takes a dozen requests."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from millrace.domain.batch import Batch
from millrace.lake.store import Lake
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery.commit import Commit
from millrace.warehouse.port import Warehouse
from tests.integration.test_merge_oracle import EACH, PHASES, check_schedules, new_bucket
from tests.support.bigquery import BigQuery, lake_for
from tests.support.deaths import dying
from tests.support.mutant_check import expect_fault
from tests.support.oracle_streams import FIXED, STREAMS
from tests.support.schedules import Schedule, System

pytestmark = [pytest.mark.bigquery, pytest.mark.timeout(1800)]
SCHEDULES = int(os.environ.get("MILLRACE_BIGQUERY_SCHEDULES", "16"))
FEW = settings(EACH, max_examples=-(-SCHEDULES // len(STREAMS)), phases=PHASES)
TEXT_KEY = "cursor that may be null"
# The emulator's catalog cannot be queried for a key with a zero character: "unterminated quoted string".
EMULATED = {TEXT_KEY: st.just(replace(FIXED[TEXT_KEY], keys=st.tuples(st.sampled_from(["", "a", "a\x01", "é"]))))}
delete_absent = merging.delete_absent


def bury_nothing(merge: merging.Merge, snapshot: str = "") -> str:
    return delete_absent(merge, snapshot).replace(" WHERE ", " WHERE FALSE AND ", 1)


MUTANTS = {
    "guard": (mock.patch.object(merging, "NEWER_UPSERT", "s._version IS NOT NULL"), "changes by id"),
    "absence": (mock.patch.object(merging, "delete_absent", bury_nothing), "snapshots"),
}


class BigQuerySystem(System):
    """One stream in its own datasets and bucket."""

    schemas: str
    renew: Callable[["BigQuerySystem"], Warehouse]

    def new_warehouse(self) -> Warehouse:
        return self.renew(self)

    def dying_commit(self, batch: Batch, when: bool) -> AbstractContextManager[None]:
        """Die before the transaction, or after it and before its answer."""
        return dying(Commit, "_commit" if zlib.crc32(batch.id.encode()) % 2 else "drop_staging", when)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.warehouse._jobs.rows(  # type: ignore[attr-defined]
            sql.format(raw=f"{self.schemas}_raw_shop", ops=f"{self.schemas}_ops"), step="test"
        )
        return rows


class Systems:
    """A factory of streams on BigQuery that deletes their datasets at the end."""

    def __init__(self, bigquery: BigQuery, emulated: Lake) -> None:
        self._found, self._emulated, self._stack = bigquery, emulated, ExitStack()

    def __call__(self, schedule: Schedule) -> System:
        emulated = new_bucket(self._emulated) if self._found.endpoint else self._emulated
        lake = self._stack.enter_context(lake_for(self._found, emulated))
        system = BigQuerySystem(schedule.stream, schedule.max_files, lake)
        system.renew, system.warehouse = self._open, self._open(system)
        return system

    def _open(self, system: BigQuerySystem) -> Warehouse:
        """Return an empty warehouse."""
        system.schemas = self._stack.enter_context(self._found.prefix())
        return self._found.warehouse(system.schemas)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def systems(bigquery: BigQuery, lake: Lake) -> Iterator[Systems]:
    factory = Systems(bigquery, lake)
    yield factory
    factory.close()


@pytest.mark.parametrize("name", STREAMS)
def test_bigquery_equals_the_model(name: str, systems: Systems, bigquery: BigQuery) -> None:
    with mock.patch.dict(STREAMS, EMULATED if bigquery.endpoint else {}):
        check_schedules(name, FEW, systems)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_oracle_catches_a_bigquery_merge_without(mutant: str, systems: Systems) -> None:
    broken, name = MUTANTS[mutant]
    with broken, expect_fault():
        check_schedules(name, settings(FEW, max_examples=10), systems, start=2026)
