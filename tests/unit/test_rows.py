"""Columns of a file become the contract's types without loss; values that do not fit are reported one by one."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_job.steps.rows import (
    check_types,
    checked_columns,
    conform_column,
    deleted_mask,
    extracted_at,
)
from beam_job.steps.types import arrow_type, fits
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import FileRejected
from millrace.domain.types import PLAIN_TYPES

UTC_US = pa.timestamp("us", "UTC")
STRUCT = pa.struct([("a", pa.int64())])
DECLARED = (*PLAIN_TYPES, "decimal(10,2)")

# The file types that fit each contract type; all others do not fit.
FITS: dict[pa.DataType, dict[str, str]] = {
    pa.string(): {"string": "same", "json": "check", "decimal(10,2)": "check"},
    pa.large_string(): {"string": "safe", "json": "check", "decimal(10,2)": "check"},
    pa.string_view(): {"string": "safe", "json": "check", "decimal(10,2)": "check"},
    pa.int64(): {"int64": "same", "float64": "check", "decimal(10,2)": "check"},
    pa.int32(): {"int64": "safe", "float64": "check", "decimal(10,2)": "check"},
    pa.uint32(): {"int64": "safe", "float64": "check", "decimal(10,2)": "check"},
    pa.uint64(): {"int64": "check", "float64": "check", "decimal(10,2)": "check"},
    pa.float64(): {"float64": "same", "int64": "check", "decimal(10,2)": "check"},
    pa.float32(): {"float64": "safe", "int64": "check", "decimal(10,2)": "check"},
    pa.bool_(): {"bool": "same"},
    pa.date32(): {"date": "check", "timestamp": "check"},
    UTC_US: {"timestamp": "check"},
    pa.timestamp("us"): {"timestamp": "check"},
    pa.timestamp("ms", "America/New_York"): {"timestamp": "check"},
    pa.timestamp("s"): {"timestamp": "check"},
    pa.timestamp("ns"): {"timestamp": "check"},
    pa.time64("us"): {"string": "check"},
    pa.binary(): {"bytes": "same"},
    pa.large_binary(): {"bytes": "safe"},
    pa.binary(4): {"bytes": "safe"},
    pa.decimal128(10, 2): {"decimal(10,2)": "same", "int64": "check"},
    pa.decimal128(38, 9): {"decimal(10,2)": "check", "int64": "check"},
    pa.list_(pa.int64()): {"json": "check"},
    STRUCT: {"json": "check"},
    pa.null(): dict.fromkeys(DECLARED, "safe"),
}


@pytest.mark.parametrize("file", FITS, ids=str)
@pytest.mark.parametrize("declared", DECLARED)
def test_types_fit_as_declared(file: pa.DataType, declared: str) -> None:
    assert fits(file, declared) == FITS[file].get(declared, "no")


@pytest.mark.parametrize("file", FITS, ids=str)
@pytest.mark.parametrize("declared", DECLARED)
def test_fitting_value_is_cast_to_contract_type(file: pa.DataType, declared: str) -> None:
    if fits(file, declared) == "no":
        return
    for values in ([], [None, None]):
        column, bad = conform_column(pa.array(values, file), declared)
        assert column.type == arrow_type(declared)
        assert column.null_count == len(values)
        assert bad is None or not bad.any()


BIG = 1 << 53
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
LONG_DECIMAL = Decimal("0.12345678901234567891")
KEPT_NUMBERS = "[18446744073709551615, -9223372036854775808, 0.1, 1.50, 1e300, 12345678901234560000000, -0.0, 2e-308,"
KEPT_NUMBERS += " 0.10000000000000001, 4.9E-324, 1.7976931348623157e+308, 0.12345678901234566]"
DECIMALS = [Decimal("1234567890.12345678"), Decimal(-1000), Decimal("2.5")]
ROUNDED_TEXTS = ("0.12", "0.14", "0.3")
CASES: list[tuple[pa.DataType, str, list[Any], list[Any]]] = [
    (pa.int64(), "float64", [BIG, -BIG, 0], [float(BIG), -float(BIG), 0.0]),
    (pa.uint64(), "float64", [BIG, 1], [float(BIG), 1.0]),
    (pa.uint8(), "float64", [255], [255.0]),
    (pa.uint64(), "int64", [2**63 - 1, 0], [2**63 - 1, 0]),
    (pa.float64(), "int64", [3.0, -(2.0**63), 2.0**62, -0.0], [3, -(2**63), 2**62, 0]),
    (pa.float16(), "int64", [np.float16(2)], [2]),
    (pa.int64(), "decimal(10,2)", [1, -99_999_999, 0], [Decimal(1), Decimal(-99_999_999), Decimal(0)]),
    (pa.int64(), "decimal(38,0)", [2**63 - 1, -(2**63)], [Decimal(2**63 - 1), Decimal(-(2**63))]),
    (pa.uint64(), "decimal(50,2)", [2**64 - 1], [Decimal(2**64 - 1)]),
    (pa.int8(), "decimal(10,2)", [7], [Decimal(7)]),
    (pa.decimal128(12, 4), "decimal(10,2)", [Decimal("1.5000")], [Decimal("1.50")]),
    (pa.decimal256(50, 4), "decimal(10,2)", [Decimal("1.5000")], [Decimal("1.50")]),
    (pa.decimal128(12, 2), "int64", [Decimal("-7.00")], [-7]),
    (pa.string(), "decimal(18,8)", ["1234567890.12345678", "-1e3", " 2.50"], DECIMALS),
    (pa.float64(), "decimal(10,2)", [0.1, -2.0, 1e7, 0.0], [Decimal(t) for t in ("0.10", "-2", "10000000", "0")]),
    (pa.float64(), "decimal(20,4)", [2.0**52, 99999999999.9999], [Decimal(2**52), Decimal("99999999999.9999")]),
    (pa.float32(), "decimal(10,2)", [1.1, 16777215.0], [Decimal("1.10"), Decimal(16777215)]),
    (pa.float64(), "decimal(10,2) half_even", [0.125, 0.135, 0.30000000000000004], [Decimal(t) for t in ROUNDED_TEXTS]),
    (pa.string(), "decimal(10,2) half_even", ["0.125", "2.5", "0.3001"], [Decimal(t) for t in ("0.12", "2.5", "0.3")]),
    (pa.decimal128(12, 4), "decimal(10,2) half_even", [Decimal("0.1250")], [Decimal("0.12")]),
    (
        pa.timestamp("ns"),
        "timestamp",
        [1_700_000_000_000_001_000, -1000],
        [datetime(2023, 11, 14, 22, 13, 20, 1, UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)],
    ),
    (pa.timestamp("us"), "timestamp", [0], [datetime(1970, 1, 1, tzinfo=UTC)]),
    (pa.timestamp("ms", "America/New_York"), "timestamp", [1], [datetime(1970, 1, 1, 0, 0, 0, 1000, UTC)]),
    (pa.date32(), "timestamp", [date(2013, 1, 1)], [datetime(2013, 1, 1, tzinfo=UTC)]),
    (pa.float32(), "float64", [0.5, math.inf], [0.5, math.inf]),
    (STRUCT, "json", [{"a": 1}], ['{"a": 1}']),
    (pa.list_(pa.string()), "json", [["é", None]], ['["\\u00e9", null]']),
    (
        pa.string(),
        "json",
        ['{"a" : [1e300, "\\ud83d\\ude00"]}', "null", '"x"'],
        ['{"a" : [1e300, "\\ud83d\\ude00"]}', "null", '"x"'],
    ),
    (pa.binary(2), "bytes", [b"\x00\xff"], [b"\x00\xff"]),
    (pa.float32(), "int64", [2.0**24 - 1, 1 - 2.0**24], [2**24 - 1, 1 - 2**24]),
    (pa.time64("us"), "string", [0, 86_400_000_000], ["00:00:00.000000", "24:00:00.000000"]),
    (pa.time32("s"), "string", [1, 86_400], ["00:00:01", "24:00:00"]),
    (pa.date64(), "date", [86_400_000], [date(1970, 1, 2)]),
    (pa.date64(), "timestamp", [86_400_000], [datetime(1970, 1, 2, tzinfo=UTC)]),
    (pa.duration("ms"), "string", [1_500, -500], ["PT1.5S", "PT-0.5S"]),
    (pa.decimal256(60, 2), "string", [Decimal("1.50"), Decimal("1E+50")], ["1.50", "1" + "0" * 50 + ".00"]),
    (pa.string(), "json", ["[" * 500 + "]" * 500, KEPT_NUMBERS], ["[" * 500 + "]" * 500, KEPT_NUMBERS]),
    (pa.list_(pa.decimal128(38, 20)), "json", [[Decimal("0.1")]], ['["0.10000000000000000000"]'.replace('"', "")]),
    (pa.list_(pa.uint64()), "json", [[2**64 - 1]], [f"[{2**64 - 1}]"]),
    (pa.list_(pa.decimal128(38, 20)), "text", [[LONG_DECIMAL]], [f"[{LONG_DECIMAL}]"]),
    (pa.string(), "text", ['{"a": 1e400}'], ['{"a": 1e400}']),
    (pa.date32(), "date", [date.min, date.max], [date.min, date.max]),
    (UTC_US, "timestamp", [FIRST, LAST], [FIRST, LAST]),
    (pa.timestamp("s"), "timestamp", [FIRST, 253_402_300_799], [FIRST, LAST.replace(microsecond=0)]),
]


@pytest.mark.parametrize(("file", "declared", "values", "expected"), CASES, ids=lambda v: str(v)[:40])
def test_values_that_fit_are_the_same_values(
    file: pa.DataType, declared: str, values: list[Any], expected: list[Any]
) -> None:
    column, bad = conform_column(pa.array([*values, None], file), declared)
    assert column.to_pylist() == [*expected, None]
    assert bad is None or not bad.any()


REFUSED: list[tuple[pa.DataType, str, list[Any]]] = [
    (pa.int64(), "float64", [BIG + 1, -BIG - 1, 2**63 - 1, -(2**63)]),
    (pa.uint64(), "float64", [BIG + 1, 2**64 - 1]),
    (pa.uint64(), "int64", [2**63, 2**64 - 1]),
    (pa.float64(), "int64", [0.5, 2.0**63, -(2.0**64), math.nan, math.inf, -math.inf]),
    (pa.float32(), "int64", [0.5, 2.0**63, math.nan, 2.0**24, -(2.0**24), 1648218603520.0]),
    (pa.float16(), "int64", [np.float16(v) for v in (0.5, 2048, -2048, math.inf)]),
    (pa.timestamp("s"), "timestamp", [2**62, -(2**62), (2**63 - 1) // 10**6 + 1]),
    (pa.timestamp("ms", "UTC"), "timestamp", [2**62, -(2**62)]),
    (pa.date32(), "timestamp", [2**31 - 1, -(2**31), 106_751_992]),
    (pa.date64(), "date", [1, 2**62]),
    (pa.time64("us"), "string", [-1, 86_400_000_001, 2**62]),
    (pa.time32("s"), "string", [-1, 86_401]),
    (pa.int64(), "decimal(10,2)", [100_000_000, -100_000_000, -(2**63)]),
    (pa.uint64(), "decimal(19,0)", [2**64 - 1]),
    (pa.string(), "decimal(10,2)", ["NaN", "Infinity", "", "1,5", "0x1", "1_0", "1.001", "100000000", "1e9999"]),
    (pa.string(), "decimal(10,2) half_even", ["NaN", "x", "99999999.995"]),
    (pa.float64(), "decimal(38,4)", [0.00001, math.nan, math.inf, 1e35, 2.0**53, 12345678906488.168]),
    (pa.float32(), "decimal(10,4)", [1.1234567, 2.0**24]),
    (pa.decimal128(12, 4), "decimal(10,2)", [Decimal("1.5001"), Decimal("-0.0001")]),
    (pa.decimal128(30, 2), "decimal(10,2)", [Decimal("100000000.00")]),
    (pa.decimal128(30, 2), "int64", [Decimal("1.50"), Decimal(2**63)]),
    (pa.timestamp("ns"), "timestamp", [1_700_000_000_000_000_001, -1]),
    (pa.string(), "json", ["", "{", "{'a': 1}", "NaN", "[Infinity]", '"\\ud800"', "[" * 100_000]),
    (pa.string(), "json", ["[123456789012345678901234]", "[0.12345678901234567891]", "9007199254740993.5"]),
    (pa.string(), "json", ["1e400", "9" * 5_000, "1e-400", "18446744073709551616", "-9223372036854775809"]),
    (pa.string(), "json", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "\\u0061": 2}}]', "[" * 501 + "]" * 501]),
    (pa.list_(pa.decimal128(38, 20)), "json", [[LONG_DECIMAL], [Decimal("0.1"), LONG_DECIMAL]]),
    (pa.list_(pa.float64()), "json", [[math.nan], [1.0, math.inf]]),
    (pa.date32(), "date", [2_932_897, -719_163, 2**31 - 1]),
    (pa.date64(), "date", [2_932_897 * 86_400_000]),
    (UTC_US, "timestamp", [253_402_300_800_000_000, -62_135_596_800_000_001, 2**63 - 1]),
    (pa.timestamp("us"), "timestamp", [253_402_300_800_000_000, -(2**63)]),
    (pa.timestamp("s"), "timestamp", [253_402_300_800, -62_135_596_801]),
]


@pytest.mark.parametrize(("file", "declared", "values"), REFUSED, ids=lambda v: str(v)[:40])
def test_lossy_value_is_rejected_and_null_is_not(file: pa.DataType, declared: str, values: list[Any]) -> None:
    column, bad = conform_column(pa.array([*values, None], file), declared)
    assert bad is not None
    assert list(bad) == [True] * len(values) + [False]
    assert column.null_count == len(values) + 1


def test_bad_value_affects_no_other_value() -> None:
    column, bad = conform_column(pa.array([1_000, None, 1_001, 2_000], pa.timestamp("ns")), "timestamp")
    assert [v and v.microsecond for v in column.to_pylist()] == [1, None, None, 2]
    assert bad is not None
    assert list(bad) == [False, False, True, False]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_integers_as_floats_are_exact_or_rejected(values: list[int | None]) -> None:
    column, bad = conform_column(pa.array(values, pa.int64()), "float64")
    assert bad is not None
    for value, refused, got in zip(values, bad, column.to_pylist(), strict=True):
        assert (got is None) if refused or value is None else (int(got) == value)
        assert not refused or (value is not None and abs(value) > BIG)


def stream(**columns: str) -> StreamContract:
    return StreamContract.model_validate(
        {
            "source": "shop",
            "stream": "orders",
            "mode": "cdc",
            "key": ["id"],
            "order": ["_ab_cdc_lsn"],
            "columns": {"id": {"type": "int64", "nullable": False}, **{n: {"type": t} for n, t in columns.items()}},
        }
    )


def test_contradicting_file_names_all_columns() -> None:
    schema = pa.schema([("_ab_cdc_lsn", pa.string()), ("name", pa.int64()), ("price", pa.float64())])
    with pytest.raises(FileRejected) as refused:
        check_types(schema, stream(name="string", price="float64", note="string"), "raw/1.parquet")
    assert str(refused.value) == (
        "raw/1.parquet: id is missing; name is int64, the contract says string;"
        " _ab_cdc_lsn is string, the contract says int64"
    )


def test_file_may_have_more_or_fewer_columns() -> None:
    schema = pa.schema([("id", pa.int64()), ("_ab_cdc_lsn", pa.int64()), ("extra", pa.time64("us"))])
    check_types(schema, stream(name="string"), "raw/1.parquet")


def test_lossy_columns_are_named() -> None:
    schema = pa.schema([("id", pa.uint64()), ("_ab_cdc_lsn", pa.float64()), ("name", pa.string()), ("x", pa.int64())])
    assert checked_columns(schema, stream(name="string", note="int64")) == ["id", "_ab_cdc_lsn"]


SECOND_1 = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
AIRBYTE_TIMES: list[tuple[pa.Array, Any]] = [
    (pa.array([1_000], pa.int64()), SECOND_1),
    (pa.array([1_000], pa.int16()), SECOND_1),
    (pa.array([1_000], pa.uint64()), SECOND_1),
    (pa.array([1_000.0], pa.float64()), SECOND_1),
    (pa.array([1_000], pa.timestamp("ms")), SECOND_1),
    (pa.array([1], pa.timestamp("s", "UTC")), SECOND_1),
    (pa.array([1_000_000_999], pa.timestamp("ns")), SECOND_1),
    (pa.array(["1970-01-01T01:00:01+01:00"]), SECOND_1),
    (pa.array(["1970-01-01T00:00:01"]).dictionary_encode(), SECOND_1),
    (pa.array([0], pa.date32()), datetime(1970, 1, 1, tzinfo=UTC)),
    (pa.array([2**62], pa.int64()), LAST),
    (pa.array([2**64 - 1], pa.uint64()), LAST),
    (pa.array([math.inf]), LAST),
    (pa.array([2**62], pa.timestamp("s")), LAST.replace(microsecond=0)),
    (pa.array([-(2**62)], pa.timestamp("us", "UTC")), FIRST),
    (pa.array(["0001-01-01T00:00:00+14:00"]), FIRST),
    (pa.array(["yesterday"]), None),
    (pa.array([None], pa.int64()), None),
    (pa.array([True]), None),
    (pa.array([{"a": 1}]), None),
]


@pytest.mark.parametrize(("column", "expected"), AIRBYTE_TIMES, ids=lambda v: str(getattr(v, "type", v)))
def test_airbyte_time_of_any_type_is_an_instant(column: pa.Array, expected: datetime | None) -> None:
    read = extracted_at(pa.table({"_airbyte_extracted_at": column}))
    assert read.type == UTC_US
    (got,) = read.to_pylist()
    same_millisecond = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    assert got == (expected.replace(microsecond=999_000) if expected == LAST and same_millisecond else expected)


@pytest.mark.parametrize(
    ("column", "deleted"),
    [
        (pa.array(["2026-01-01T00:00:00Z", "", " ", None, "sometime"]), [True, False, False, False, True]),
        (pa.array([True, False, None]), [True, False, False]),
        (pa.array([2**62, None], pa.timestamp("s")), [True, False]),
        (pa.array(["", "x", None]).dictionary_encode(), [False, True, False]),
        (pa.nulls(1), [False]),
    ],
    ids=lambda v: str(getattr(v, "type", "")),
)
def test_false_or_empty_is_no_delete(column: pa.Array, deleted: list[bool]) -> None:
    assert deleted_mask(pa.table({"_ab_cdc_deleted_at": column})).tolist() == deleted


def test_table_without_delete_column_has_no_delete() -> None:
    assert deleted_mask(pa.table({"id": [1, 2]})).tolist() == [False, False]
