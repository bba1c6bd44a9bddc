"""Columns with the name of an engine's pseudo column are plain data, and address no row."""

import os
from typing import Any

import pyarrow as pa
import pytest

from millrace.domain.batch import Balance
from tests.support.engines import Engine, OnEngine
from tests.support.merging import PARQUET, contract, delete, parquet, upsert

PSEUDO_COLUMNS = ["rowid", "RowId", "ROWID", "row_id", "filename", "file_row_number", "file_index", "ctid", "oid"]
VALUES = {"integer": (pa.int64(), 7, 8), "text": (pa.string(), "x", "y"), "null": (pa.int64(), None, None)}


def merging_with(engine: Engine, name: str, kind: str, declared: bool) -> OnEngine:
    columns: dict[str, Any] = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}}
    if declared:
        columns[name] = {"type": "string" if kind == "text" else "int64"}
    return OnEngine(engine, contract(columns=columns))


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "new"])
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", ["rowid", "RowId"])
def test_rows_are_found_beside_a_column_rowid(engine: Engine, name: str, kind: str, declared: bool) -> None:
    if engine.name == "bigquery" and not os.environ.get("MILLRACE_TEST_BIGQUERY_PROJECT"):
        pytest.xfail("the emulator keeps tables in DuckDB, and its own MERGE fails beside a column rowid")
    merging = merging_with(engine, name, kind, declared)
    arrow_type, value, other_value = VALUES[kind]
    schema = PARQUET.append(pa.field(name, arrow_type))

    def land(*rows: dict[str, Any]) -> None:
        merging.land(merging.put(parquet(list(rows), schema)))

    land(upsert(1, 10) | {name: value}, upsert(2, 10) | {name: value}, upsert(3, 10) | {name: other_value})
    assert merging.merge() == [Balance(rows_in=3, merged=3, superseded=0, stale=0, quarantined=0)]
    land(upsert(1, 20) | {name: value})
    assert merging.merge() == [Balance(rows_in=1, merged=1, superseded=0, stale=0, quarantined=0)]
    assert merging.live() == {1: "v20", 2: "v10", 3: "v10"}
    land(upsert(3, 30) | {name: value}, upsert(1, 15) | {name: other_value}, delete(2, 30))
    assert merging.merge() == [Balance(rows_in=3, merged=2, superseded=0, stale=1, quarantined=0)]
    rows = merging.query(f"SELECT id, name, {name} FROM {{raw}}.orders_live ORDER BY id")
    assert rows == [(1, "v20", value), (3, "v30", value)]
    assert merging.warehouse.count_doubled_keys(merging.contract) == 0


@pytest.mark.parametrize("name", PSEUDO_COLUMNS)
def test_key_may_be_named_as_a_pseudo_column(engine: Engine, name: str) -> None:
    columns = {name: {"type": "int64", "nullable": False}, "name": {"type": "string"}}
    merging = OnEngine(engine, contract(key=[name], columns=columns))
    schema = PARQUET.append(pa.field(name, pa.int64()))
    for lsn, keys in ((10, (7, 8, 0)), (20, (8,)), (30, (0, 9))):
        merging.land(merging.put(parquet([upsert(None, lsn) | {name: key} for key in keys], schema)))
        assert [(b.merged, b.stale) for b in merging.merge()] == [(len(keys), 0)]
    rows = merging.query(f"SELECT {name}, name FROM {{raw}}.orders_live ORDER BY 1")
    assert rows == [(0, "v30"), (7, "v10"), (8, "v20"), (9, "v30")]
