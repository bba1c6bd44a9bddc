"""Columns of any name are added under one rule, and a refused file changes no table."""

from typing import Any

import pyarrow as pa
import pytest

from millrace.contracts.stream import StreamContract
from millrace.domain.column_names import table_names
from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess
from tests.support.merging import contract, parquet

BASE = {"_airbyte_extracted_at": pa.int64(), "id": pa.int64(), "_ab_cdc_lsn": pa.int64()}
ODD = [
    "__v",
    "_class",
    "_dlt_id",
    "unit price",
    "1st",
    "",
    "caf\u00e9",
    "cafe\u0301",
    "a.b",
    "ID",
    "_version",
    "_BATCH_ID",
]
ODD += ["_partitiondate", "_AIRBYTE_RAW_ID", " ab_x", "x" * 200, "RowId", "colour", "Colour"]


def land(merging: InProcess, part: int, types: dict[str, pa.DataType], **values: Any) -> Any:
    row = {"id": part, "_ab_cdc_lsn": part} | values
    return merging.put(parquet([row], pa.schema(list((BASE | types).items()))), part=part)


def stream(**changes: Any) -> StreamContract:
    columns = {n: {"type": t} for n, t in changes.pop("columns", {}).items()}
    return contract(columns={"id": {"type": "int64", "nullable": False}} | columns, **changes)


def columns_of(merging: InProcess) -> set[str]:
    query = "SELECT column_name FROM duckdb_columns() WHERE table_name = 'orders_live'"
    return {name for (name,) in merging.query(query)} - {"id", "_ab_cdc_lsn", "_extracted_at", "_batch_id", "_object"}


def test_column_of_any_name_is_added() -> None:
    merging = InProcess(stream())
    expected = table_names([*BASE, *ODD], ["id", "_ab_cdc_lsn"])
    for part in (1, 2):
        merging.land(land(merging, part, dict.fromkeys(ODD, pa.string()), **{name: f"{part} {name}" for name in ODD}))
        assert merging.merge()[0].merged == 1
    assert columns_of(merging) == {expected[name] for name in ODD}
    for name in ODD:
        rows = merging.query(f'SELECT "{expected[name]}" FROM raw_shop.orders_live ORDER BY id')
        assert rows == [(f"1 {name}",), (f"2 {name}",)]


def test_odd_columns_are_added_in_every_engine(engine: Engine) -> None:
    merging = OnEngine(engine, stream())
    odd = [name for name in ODD if name != "RowId"]
    expected = table_names([*BASE, *odd], ["id", "_ab_cdc_lsn"])
    merging.land(land(merging, 1, dict.fromkeys(odd, pa.string()), **{name: f"1 {name}" for name in odd}))
    assert merging.merge()[0].merged == 1
    shown = ", ".join(expected[name] for name in odd)
    assert merging.query(f"SELECT {shown} FROM {{raw}}.orders_live") == [tuple(f"1 {name}" for name in odd)]


def test_case_twins_of_two_files_are_two_columns() -> None:
    merging = InProcess(stream())
    objects = [land(merging, i, {n: pa.string()}, **{n: n}) for i, n in ((1, "Foo"), (2, "foo"), (3, "Foo"))]
    merging.land(*objects)
    assert merging.merge()[0].merged == 3
    (other,) = columns_of(merging) - {"Foo"}
    assert merging.query(f'SELECT "Foo", "{other}" FROM raw_shop.orders_live ORDER BY id') == [
        ("Foo", None),
        (None, "foo"),
        ("Foo", None),
    ]


def test_key_of_any_name_is_declared_by_the_rule() -> None:
    merging = InProcess(
        contract(key=["the_key_3a0aac"], columns={"the_key_3a0aac": {"type": "int64", "nullable": False}})
    )
    name = "the key"
    assert table_names([name], []) == {name: "the_key_3a0aac"}
    merging.land(land(merging, 1, {name: pa.int64()}, **{name: 7}))
    assert merging.merge()[0].merged == 1


@pytest.mark.parametrize("apart", [False, True])
def test_refused_file_adds_and_widens_nothing(apart: bool) -> None:
    merging = InProcess(stream(columns={"v": "int64", "d": "date"}, evolution={"type_changes": "widen"}))
    refused = land(merging, 1, {"d": pa.timestamp("us"), "v": pa.string(), "junk": pa.string()}, v="x")
    good = land(merging, 2, {"v": pa.int64(), "new": pa.string()}, v=1)
    for landed in [[refused], [good]] if apart else [[refused, good]]:
        merging.land(*landed)
        merging.merge()
    assert columns_of(merging) == {"v", "d", "new"}
    kinds = merging.query("SELECT data_type FROM duckdb_columns() WHERE column_name = 'd' AND table_name = 'orders'")
    assert kinds == [("DATE",)]
    assert merging.query("SELECT reason FROM ops.quarantine") == [("file.type",)]


def test_file_that_widens_is_read_and_adds() -> None:
    merging = InProcess(stream(columns={"d": "date"}, evolution={"type_changes": "widen"}))
    merging.land(land(merging, 1, {"d": pa.timestamp("us"), "new": pa.string()}, new="x"))
    assert merging.merge()[0].merged == 1
    assert columns_of(merging) == {"d", "new"}


def test_file_broken_after_reading_adds_nothing() -> None:
    merging = InProcess(stream())
    schema = pa.schema(list((BASE | {"junk": pa.string(), "t": pa.string()}).items()))
    bad = parquet([{"id": 1, "_ab_cdc_lsn": 1, "junk": "aaaa", "t": "ZQZQZQZQZQ"}], schema, compression="none")
    bad = bad.replace(b"ZQZQZQZQZQ", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe")
    merging.land(merging.put(bad, part=1), land(merging, 2, {"new": pa.string()}, new="x"))
    assert merging.merge()[0].quarantined == 1
    assert columns_of(merging) == {"new"}


def test_file_that_another_contradicts_widens_nothing() -> None:
    merging = InProcess(stream(columns={"v": "int64", "d": "date"}, evolution={"type_changes": "widen"}))
    first = land(merging, 1, {"v": pa.float64()}, v=0.5)
    second = land(merging, 2, {"v": pa.decimal128(38, 20), "d": pa.timestamp("us")}, v=1)
    third = land(merging, 3, {"v": pa.int64(), "new": pa.string()}, v=1)
    merging.land(first, second, third)
    merging.merge()
    kinds = merging.query("SELECT column_name, data_type FROM duckdb_columns() WHERE column_name IN ('d', 'v', 'new')")
    assert dict(kinds) == {"v": "DOUBLE", "d": "DATE", "new": "VARCHAR"}
    assert merging.query("SELECT reason FROM ops.quarantine") == [("file.type",)]
