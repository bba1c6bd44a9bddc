"""Columns of every type that a file can have reach the table, and one value out of range costs one row, no file."""

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.contracts.stream import StreamContract
from tests.support.in_process import InProcess
from tests.support.merging import contract

UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
AT = 1_700_000_000  # 2023-11-14T22:13:20Z
NINES = datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)


def land(merging: InProcess, part: int = 0, **columns: pa.Array) -> None:
    """Write one object with these columns, its keys counted from 10 times the part."""
    count = len(next(iter(columns.values())))
    numbers = pa.array(range(part * 10, part * 10 + count), pa.int64())
    own = {"id": numbers, "_ab_cdc_lsn": numbers, "_airbyte_extracted_at": pa.array([0] * count, pa.int64())}
    buffer = io.BytesIO()
    pq.write_table(pa.table(own | columns), buffer)
    merging.land(merging.put(buffer.getvalue(), part=part))


def stream(**columns: Any) -> StreamContract:
    declared = {n: c if isinstance(c, dict) else {"type": c} for n, c in columns.items()}
    return contract(columns={"id": {"type": "int64", "nullable": False}} | declared)


def live(merging: InProcess, column: str = "v") -> list[Any]:
    values = [v for (v,) in merging.query(f"SELECT {column} FROM raw_shop.orders_live ORDER BY id")]
    return [v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in values]


def wrapped(kind: pa.DataType, value: Any) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array([value, None], kind.storage_type))


def of(kind: pa.DataType, value: Any) -> pa.Array:
    return pa.array([value, None], kind)


NEW: list[tuple[pa.Array, str, str, Any]] = [
    (wrapped(pa.uuid(), bytes(range(16))), "VARCHAR", "v", UUID_TEXT),
    (wrapped(pa.json_(pa.string()), '{"a": 1}'), "JSON", "v->>'a'", "1"),
    (of(pa.string(), "x").dictionary_encode(), "VARCHAR", "v", "x"),
    (of(pa.string_view(), "x"), "VARCHAR", "v", "x"),
    (of(pa.large_string(), "x"), "VARCHAR", "v", "x"),
    (of(pa.binary_view(), b"\x00"), "BLOB", "v", b"\x00"),
    (of(pa.float16(), 0.5), "DOUBLE", "v", 0.5),
    (of(pa.uint64(), 2**64 - 1), "DECIMAL(20,0)", "v", Decimal(2**64 - 1)),
    (of(pa.duration("ms"), 1_500), "VARCHAR", "v", "PT1.5S"),
    (of(pa.time64("us"), 86_400_000_000), "VARCHAR", "v", "24:00:00.000000"),
    (of(pa.decimal256(60, 2), Decimal("1E+50")), "VARCHAR", "v", f"{10**50}.00"),
    (
        of(pa.map_(pa.string(), pa.binary()), [("b", b"\x00\xff"), ("a", b"")]),
        "JSON",
        "v::VARCHAR",
        '{"a": "", "b": "AP8="}',
    ),
    (of(pa.list_(pa.date32()), [2_932_897, -719_529]), "JSON", "v->>1", "-0001-12-31"),
    (of(pa.struct([("t", pa.timestamp("us"))]), {"t": -(2**62)}), "JSON", "v->>'t'", "-144169-06-28T09:59:32.612096Z"),
    (of(pa.struct([("d", pa.duration("s"))]), {"d": 2**60}), "JSON", "v->>'d'", f"PT{2**60}S"),
]


@pytest.mark.parametrize(("column", "stored", "read", "expected"), NEW, ids=lambda v: str(getattr(v, "type", ""))[:30])
def test_new_column_of_any_type_is_added(column: pa.Array, stored: str, read: str, expected: Any) -> None:
    merging = InProcess(stream())
    land(merging, v=column)
    assert [(b.merged, b.quarantined) for b in merging.merge()] == [(2, 0)]
    assert merging.query(
        "SELECT data_type FROM duckdb_columns() WHERE table_name = 'orders' AND column_name = 'v'"
    ) == [(stored,)]
    assert live(merging, read) == [expected, None]
    land(merging, 1, v=column)
    assert [(b.merged, b.quarantined) for b in merging.merge()] == [(2, 0)]


@pytest.mark.parametrize(("column", "stored", "read", "expected"), NEW, ids=lambda v: str(getattr(v, "type", ""))[:30])
def test_column_of_any_type_takes_every_type(column: pa.Array, stored: str, read: str, expected: Any) -> None:
    merging = InProcess(stream(v={"type": "string", "any_type": True}))
    land(merging, v=column)
    assert [(b.merged, b.quarantined) for b in merging.merge()] == [(2, 0)]
    first, second = live(merging)
    assert isinstance(first, str)
    assert second is None
    assert "b'" not in first


CLOCK = pa.struct([("t", pa.time64("us"))])
ONE_BAD: list[tuple[str, pa.Array, Any]] = [
    ("json", pa.array([{"t": 86_400_000_000}, {"t": -1}], CLOCK), '{"t": "24:00:00"}'),
    ("string", pa.array([1, -1], pa.time64("us")), "00:00:00.000001"),
    ("timestamp", pa.array([AT * 1_000, 2**62], pa.timestamp("ms")), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
    ("timestamp", pa.array([0, 2**31 - 1], pa.date32()), datetime(1970, 1, 1, tzinfo=UTC)),
    ("int64", pa.array([5.0, 1_648_218_603_520.0], pa.float32()), 5),
    ("json", pa.array([[1.0], [float("nan")]]), "[1.0]"),
    ("json", pa.array(["[1]", "[" * 10_001 + "]" * 10_001]), "[1]"),
    ("decimal(5,2)", pa.array([Decimal("1.50"), Decimal("1E+50")], pa.decimal256(60, 2)), Decimal("1.50")),
]


@pytest.mark.parametrize(("declared", "column", "expected"), ONE_BAD, ids=lambda v: str(getattr(v, "type", ""))[:30])
def test_value_out_of_range_costs_its_row(declared: str, column: pa.Array, expected: Any) -> None:
    merging = InProcess(stream(v=declared))
    land(merging, v=column)
    assert [(b.merged, b.quarantined) for b in merging.merge()] == [(1, 1)]
    assert live(merging) == [expected]
    assert merging.query('SELECT reason, "row" FROM ops.quarantine') == [("row.type", 1)]


@pytest.mark.parametrize("text", ["9" * 5_000, "[" * 5_000 + "]" * 5_000], ids=["long number", "deep"])
def test_long_and_deep_json_is_kept_as_text(text: str) -> None:
    """No JSON type holds it on both engines: its row is named, and a text column takes it."""
    refused, taken = InProcess(stream(v="json")), InProcess(stream(v="string"))
    for merging in (refused, taken):
        land(merging, v=pa.array([text]))
    assert [(b.merged, b.quarantined) for b in refused.merge()] == [(0, 1)]
    assert refused.query('SELECT reason, "row" FROM ops.quarantine') == [("row.type", 0)]
    assert [(b.merged, b.quarantined) for b in taken.merge()] == [(1, 0)]
    assert live(taken) == [text]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pa.array([AT * 10**9 + 1_999], pa.timestamp("ns")), datetime(2023, 11, 14, 22, 13, 20, 1, UTC)),
        (pa.array([2**62], pa.timestamp("us")), NINES),
        (pa.array([2**62], pa.int64()), NINES.replace(microsecond=999_000)),
    ],
    ids=["nanoseconds", "microseconds", "milliseconds"],
)
def test_odd_extraction_time_refuses_no_file(times: pa.Array, expected: datetime) -> None:
    merging = InProcess(stream(v="int64"))
    land(merging, v=pa.array([7]), _airbyte_extracted_at=times)
    assert [(b.merged, b.quarantined) for b in merging.merge()] == [(1, 0)]
    assert live(merging, "_extracted_at") == [expected]


def test_delete_beyond_year_9999_is_a_delete() -> None:
    merging = InProcess(stream(v="int64"))
    land(merging, v=pa.array([7, 8]), _ab_cdc_deleted_at=pa.array([2**61, None], pa.timestamp("us", "UTC")))
    assert [b.merged for b in merging.merge()] == [2]
    assert live(merging) == [8]


@pytest.mark.parametrize(
    "column",
    [pa.array([True, False, None]), pa.array(["2026-01-01T00:00:00Z", "", None])],
    ids=["bool", "text"],
)
def test_false_or_empty_deletes_no_row(column: pa.Array) -> None:
    merging = InProcess(stream(v="int64"))
    land(merging, v=pa.array([7, 8, 9]), _ab_cdc_deleted_at=column)
    assert [b.merged for b in merging.merge()] == [3]
    assert live(merging) == [8, 9]
