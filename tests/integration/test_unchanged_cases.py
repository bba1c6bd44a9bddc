"""Unchanged values meet crashes, redrives, erasures, new columns and other settings of the contract."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from beam_job.attempts import stage
from beam_job.batches import open_batch
from beam_job.commit import commit_batch
from beam_job.erase import request
from beam_job.redrive import redrive
from beam_job.steps.unchanged import as_json
from millrace.domain.batch import Balance
from millrace.domain.ledger import EVER
from millrace.lake.store import Lake
from tests.support.in_process import InProcess, MemoryWarehouse, stage_plainly
from tests.support.merging import NOON, Merging, parquet
from tests.support.mortal import Fate, Killed
from tests.support.unchanged import (
    COLUMNS,
    SCHEMA,
    SIDE,
    UNCHANGED,
    land,
    people,
    person,
    rows,
)


def test_update_of_another_column_keeps_long_text() -> None:
    merging = InProcess(people())
    land(merging, person(1, 1, "long text", "a"))
    land(merging, person(1, 2, cv="b"), person(2, 3, cv="c"))
    assert merging.merge() == [Balance(rows_in=3, merged=2, superseded=1, stale=0, quarantined=0)]
    assert rows(merging) == [(1, "long text", "b"), (2, None, "c")]


def test_late_value_fills_the_row_and_is_merged() -> None:
    """The row then belongs to the batch of the value, so that models read it again."""
    merging = InProcess(people())
    for lsn, bio, merged, stale in ((9, UNCHANGED, 1, 0), (3, "old", 1, 0), (2, "older", 0, 1), (5, UNCHANGED, 0, 1)):
        land(merging, person(1, lsn, bio, "cv"))
        assert merging.merge() == [Balance(rows_in=1, merged=merged, superseded=0, stale=stale, quarantined=0)]
    assert rows(merging) == [(1, "old", "cv")]
    second = merging.warehouse.ledger(EVER)[1].batch_id
    assert merging.query("SELECT _batch_id FROM raw_shop.orders") == [(second,)]
    land(merging, person(1, 10, "new", "new"))
    merging.merge()
    assert rows(merging) == [(1, "new", "new")]
    assert merging.query(f"FROM {SIDE}") == []


def test_redriven_rows_change_nothing() -> None:
    merging = InProcess(people())
    land(merging, person(1, 1, "a", "a"))
    merging.merge()
    land(merging, person(1, 3, cv="c"), person(1, 2, "b"), person(2, 5, cv="late"), {"_ab_cdc_lsn": 1})
    assert merging.merge() == [Balance(rows_in=4, merged=2, superseded=1, stale=0, quarantined=1)]
    land(merging, person(2, 6), person(2, 4, "b"))
    merging.merge()
    before = state(merging)
    redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
    assert merging.merge() == [Balance(rows_in=4, merged=0, superseded=1, stale=2, quarantined=1)]
    assert rows(merging) == [(1, "b", "c"), (2, "b", "late")]
    assert state(merging) == before


def state(merging: InProcess) -> list[list[tuple[Any, ...]]]:
    return [merging.query(f"FROM {table} ORDER BY ALL") for table in ("raw_shop.orders", SIDE)]


class Dying(MemoryWarehouse):
    """A connection that ends at the n-th statement of a commit, before or after its effect."""

    def __init__(self, warehouse: MemoryWarehouse, fate: Fate) -> None:
        super().__init__(warehouse)
        self._fate = fate

    @contextmanager
    def _writing(self, purpose: str) -> Iterator[Any]:
        with self.connection() as db:
            yield DyingConnection(db, self._fate)


class DyingConnection:
    def __init__(self, db: Any, fate: Fate) -> None:
        self._db, self._fate = db, fate

    def execute(self, *arguments: Any) -> Any:
        return self._fate.call(lambda: self._db.execute(*arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def test_crash_in_a_commit_leaves_all_or_nothing() -> None:
    merging = InProcess(people())
    land(merging, person(1, 1, "a", "a"), person(2, 5))
    merging.merge()
    land(merging, person(1, 3, cv="c"), person(1, 2, "b"), person(2, 4, "late", "late"))
    batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert batch is not None
    staged = stage_plainly(merging.lake, merging.contract, batch)
    before, deaths = state(merging), 0
    for n in itertools.count():
        try:
            dying = Dying(merging.warehouse, Fate(n))  # type: ignore[arg-type]
            commit_batch(merging.lake, dying, merging.contract, batch, staged, run_id="test", at=NOON)
            break
        except Killed:
            deaths += 1
        if merging.warehouse.balance(batch):
            break
        assert state(merging) == before
    assert deaths > 50
    again = commit_batch(merging.lake, merging.warehouse, merging.contract, batch, staged, run_id="again", at=NOON)
    assert again == Balance(rows_in=3, merged=2, superseded=1, stale=0, quarantined=0)
    assert rows(merging) == [(1, "b", "c"), (2, "late", "late")]
    assert len(merging.query(f"FROM {SIDE}")) == 3


def test_erased_key_leaves_no_entry_and_gets_no_value() -> None:
    merging = InProcess(people())
    land(merging, person(1, 5), person(2, 5))
    merging.merge()
    request(merging.lake, merging.contract, [{"id": 1}], "test", NOON)
    assert merging.merge() == []
    assert merging.query(f"SELECT DISTINCT id FROM {SIDE}") == [(2,)]
    land(merging, person(1, 3, "late", "late"), person(2, 3, "late", "late"), person(1, 6), person(1, 7, "new", "new"))
    assert [b.stale for b in merging.merge()] == [1]
    assert merging.query("SELECT id, bio FROM raw_shop.orders ORDER BY id") == [(1, None), (2, "late")]
    assert merging.query(f"SELECT DISTINCT id FROM {SIDE}") == [(2,)]


def test_added_column_can_have_unchanged_values() -> None:
    merging = InProcess(people())
    land(merging, person(1, 1, "a", "a"), person(2, 1, "a", "a"))
    merging.merge()
    wider = SCHEMA.append(pa.field("motto", pa.string()))
    land(merging, person(1, 3) | {"motto": UNCHANGED}, person(2, 2) | {"motto": "carpe"}, schema=wider)
    merging.merge()
    land(merging, person(1, 2) | {"motto": "diem"}, person(2, 4) | {"motto": UNCHANGED}, schema=wider)
    merging.merge()
    stored = merging.query("SELECT id, bio, cv, motto FROM raw_shop.orders_live ORDER BY id")
    assert stored == [(1, "a", "a", "diem"), (2, "a", "a", "carpe")]


@pytest.mark.parametrize("kind", [{"type": "json"}, {"type": "string", "any_type": True}], ids=["json", "any type"])
def test_unchanged_json_and_text_of_any_type(kind: dict[str, Any]) -> None:
    mark = f'"{UNCHANGED}"' if kind["type"] == "json" else UNCHANGED
    merging = InProcess(people(columns=COLUMNS | {"bio": kind}))
    land(merging, person(1, 1, '{"a": [1]}', "a"))
    merging.merge()
    land(merging, person(1, 2, mark, "b"), person(1, 3, UNCHANGED))
    merging.merge()
    assert rows(merging) == [(1, '{"a": [1]}', "b")]
    assert merging.query("SELECT count(*) FROM ops.quarantine") == [(0,)]


def test_contract_chooses_the_text_or_none() -> None:
    merging = InProcess(people(unchanged=""))
    land(merging, person(1, 1, "a"), person(1, 2))
    merging.merge()
    assert rows(merging) == [(1, UNCHANGED, UNCHANGED)]
    merging = InProcess(people(mode="append", unchanged="n/c"))
    land(merging, person(1, 1, "a"), person(1, 2, "n/c", "n/c"))
    merging.merge()
    assert rows(merging) == [(1, "a", UNCHANGED)]


def test_columns_and_text_may_have_any_characters() -> None:
    mark, named = 'it\'s \\ "é"', ("bio", "cv", "_late", "rowid", "t", "s")
    odd = COLUMNS | {name: {"type": "string"} for name in named}
    schema = pa.schema([*SCHEMA, *(pa.field(name, pa.string()) for name in named[2:])])
    merging = InProcess(people(columns=odd, unchanged=mark))
    for lsn, value in ((5, mark), (3, "old"), (2, "older")):
        land(merging, {"id": 1, "_ab_cdc_lsn": lsn} | dict.fromkeys(named, value), schema=schema)
        merging.merge()
    assert merging.query(f"SELECT {', '.join(named)} FROM raw_shop.orders_live") == [("old",) * len(named)]


def test_switching_it_off_and_on_fills_nothing_old() -> None:
    """An entry counts only for the version of the row that it was made for."""
    merging = InProcess(people())
    land(merging, person(1, 5))
    merging.merge()
    merging.contract = people(unchanged="")
    land(merging, person(1, 9, "real", "real"))
    merging.merge()
    merging.contract = people()
    land(merging, person(1, 7, "late", "late"))
    assert [(b.merged, b.stale) for b in merging.merge()] == [(0, 1)]
    assert rows(merging) == [(1, "real", "real")]


def test_merge_bounded_by_partition_finds_the_value() -> None:
    day = {"type": "date", "nullable": False}
    dated = people(key=["id", "day"], partition={"column": "day"}, columns=COLUMNS | {"day": day})
    merging = InProcess(dated)
    wider = SCHEMA.append(pa.field("day", pa.date32()))
    for lsn, bio in ((1, "a"), (3, UNCHANGED), (2, "b")):
        land(merging, person(1, lsn, bio, "cv") | {"day": NOON.date()}, schema=wider)
        merging.merge()
    assert rows(merging) == [(1, "b", "cv")]


@pytest.mark.parametrize(
    "changes", [{"key": "position", "mode": "append", "order": []}, {"mode": "overwrite"}], ids=str
)
def test_stream_without_rows_before_refuses_the_text(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="stands for the value of the row before"):
        people(**changes, unchanged=UNCHANGED)
    assert people(**changes).placeholders == {}


def test_batch_without_unchanged_values_is_as_before() -> None:
    merging = InProcess(people())
    land(merging, person(1, 1, UNCHANGED, "a"), person(1, 2, "b", "b"))
    batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert batch is not None
    staged = stage_plainly(merging.lake, merging.contract, batch)
    assert (staged.every_upsert, staged.unchanged, staged.superseded) == (False, (), 1)
    merging.merge()
    assert merging.query("SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'unchanged%'") == [(0,)]


def test_attempt_that_runs_elsewhere_is_adopted() -> None:
    """A process that dies while it waits for the second attempt leaves it to the next one, which need not repeat it."""
    merging = InProcess(people())
    land(merging, person(1, 1, "a", "a"), person(1, 2, cv="b"))
    batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert batch is not None
    first = stage_plainly(merging.lake, merging.contract, batch)
    again = stage(merging.lake, merging.contract, batch, lambda *_: None, lambda *_: first.attempt)
    assert again == first
    assert (first.every_upsert, first.unchanged, first.superseded) == (True, ("bio",), 0)
    left = {info.name.split("/")[2] for info in merging.lake.list(f"_staging/{batch.id}/")}
    assert left == {first.attempt}, "files of the attempt before are deleted"


def test_text_becomes_json_only_in_columns_of_json() -> None:
    texts = pa.array(["{}", None, UNCHANGED])
    assert as_json(texts, "bio", people()) is texts
    quoted = as_json(texts, "bio", people(columns=COLUMNS | {"bio": {"type": "json"}}))
    assert quoted.to_pylist() == ["{}", None, f'"{UNCHANGED}"']


def test_beam_stages_every_upsert_too(lake: Lake, tmp_path: Path) -> None:
    merging = Merging(lake, tmp_path, people())
    for batch in ([person(1, 1, "a", "a")], [person(1, 3, cv="c"), person(1, 2, "b")]):
        merging.land(merging.put(parquet(batch, SCHEMA)))
        merging.merge()
    assert merging.query("SELECT bio, cv FROM raw_shop.orders_live") == [("b", "c")]
