"""Unusual and broken files of tests/data/ingest: each row is right in the table, or named in quarantine.

A good file lands beside each of them, and must be merged whatever the other one holds.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from millrace.domain.batch import Balance
from tests.support.in_process import InProcess
from tests.support.merging import contract, parquet
from tests.support.servers import ROOT

FOLDER = ROOT / "tests" / "data" / "ingest"
GOOD = {"id": 99, "_ab_cdc_lsn": 1}
FIRST = datetime(2024, 1, 1, tzinfo=UTC)

# By file: the columns that the contract declares besides `id`, and the values of `v` that are merged, by id.
MERGED: list[tuple[str, dict[str, str], dict[int, Any]]] = [
    ("05-dictionary.parquet", {}, {1: "red"}),
    ("05-dictionary.parquet", {"v": "string"}, {1: "red"}),
    ("05-json.parquet", {}, {1: '{"a":1}'}),
    ("05-json.parquet", {"v": "json"}, {1: '{"a":1}'}),
    ("05-uuid.parquet", {}, {1: "30303030-3030-3030-3030-303030303030"}),
    ("05-uuid.parquet", {"v": "string"}, {1: "30303030-3030-3030-3030-303030303030"}),
    ("06-default.avro", {}, {1: 7}),
    ("07-nested-bytes.parquet", {}, {1: '{"b": "AP8="}'}),
    ("17-int96-9999.parquet", {"v": "timestamp"}, {1: FIRST, 2: datetime(9999, 12, 31, tzinfo=UTC)}),
]
# By file: the declared columns, the reason of its quarantine, and a word that the reason must have.
REFUSED = [
    ("04-two-columns-one-name.parquet", {"name": "string"}, "file.unreadable", "name"),
    ("12-page-checksum.parquet", {"amount": "int64"}, "file.unreadable", "checksum"),
    ("13-refused-file.parquet", {"v": "int64"}, "file.type", "v is string, the contract says int64"),
    (
        "14-float32-integers.parquet",
        {"v": "int64"},
        "row.type",
        "v is 1648218603520.0 (float), which does not fit int64 without loss",
    ),
]


def merged(file: str, columns: dict[str, str]) -> InProcess:
    """Merge a file of the folder, and a good file beside it and after it."""
    declared = {name: {"type": kind} for name, kind in columns.items()}
    stream = contract(mode="append", order=[], columns={"id": {"type": "int64", "nullable": False}} | declared)
    merging = InProcess(stream)
    name, _, ending = file.rpartition(".")
    put = merging.put((FOLDER / file).read_bytes(), ending, part=1)
    assert put.name.endswith(ending)
    assert name
    merging.land(put, merging.put(parquet([GOOD]), part=2))
    (balance,) = merging.merge()
    assert isinstance(balance, Balance)
    merging.land(merging.put(parquet([GOOD | {"id": 100}])))
    assert [b.merged for b in merging.merge()] == [1]
    live = {id for (id,) in merging.query("SELECT id FROM raw_shop.orders_live")}
    assert live >= {99, 100}
    return merging


def values(merging: InProcess) -> dict[int, Any]:
    """Return the live values of `v` from the file, by id."""
    return dict(merging.query("SELECT id, v FROM raw_shop.orders_live WHERE id < 99"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("file", "columns", "expected"), MERGED, ids=[f"{f}-{len(c)}" for f, c, _ in MERGED])
def test_unusual_file_is_merged(file: str, columns: dict[str, str], expected: dict[int, Any]) -> None:
    got = values(merged(file, columns))
    assert got.keys() == expected.keys()
    for id, value in expected.items():
        assert (json.loads(got[id]) if str(value).startswith("{") else got[id]) == (
            json.loads(value) if str(value).startswith("{") else value
        )


@pytest.mark.parametrize(("file", "columns", "reason", "word"), REFUSED, ids=[row[0] for row in REFUSED])
def test_broken_file_is_named(file: str, columns: dict[str, str], reason: str, word: str) -> None:
    merging = merged(file, columns)
    ((found, detail),) = merging.query("SELECT DISTINCT reason, detail FROM ops.quarantine")
    assert found == reason
    assert word in detail
    shown = {name for (name,) in merging.query("SELECT column_name FROM duckdb_columns() WHERE table_name = 'orders'")}
    assert "junk" not in shown, "a refused file adds no column"


@pytest.mark.parametrize("file", ["02-nested-date-year-10000.parquet", "02b-nested-timestamp-bc.parquet"])
@pytest.mark.parametrize("declared", [{}, {"v": "json"}], ids=["new", "declared"])
def test_nested_instant_of_any_year_is_text(file: str, declared: dict[str, str]) -> None:
    got = values(merged(file, declared))
    assert 1 in got
    (text,) = json.loads(got[1]).values()
    assert isinstance(text, str)


def test_decimal_of_sixty_digits_is_exact_text() -> None:
    got = values(merged("03-decimal-60-digits.parquet", {}))
    assert Decimal(got[1]) == Decimal("1.50")


def test_avro_union_and_map_are_read() -> None:
    union = values(merged("06-union.avro", {}))
    assert {id: str(v).strip('"') for id, v in union.items()} == {1: "a", 2: "5"}
    assert {id for (id,) in merged("06-map.avro", {}).query("SELECT id FROM raw_shop.orders_live")} == {1, 99, 100}


def test_avro_file_without_rows_is_read() -> None:
    merging = merged("06-empty.avro", {})
    assert merging.query("SELECT count(*) FROM ops.quarantine") == [(0,)]


def test_time_past_midnight_refuses_no_other_row() -> None:
    got = values(merged("16-time-24-00-00.parquet", {"v": "string"}))
    assert got[2] == "01:00:00.000000"


def test_footer_with_negative_rows_is_quarantined() -> None:
    merging = merged("15-footer-negative-rows.parquet", {})
    ((reason,),) = merging.query("SELECT DISTINCT reason FROM ops.quarantine")
    assert reason in ("file.unreadable", "file.count")
