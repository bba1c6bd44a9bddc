"""Schema drift: columns and types outside the contract are added, widened, quarantined or ignored, never lost."""

import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from millrace.contracts.stream import StreamContract
from millrace.domain.errors import ContractError
from tests.support.in_process import InProcess
from tests.support.merging import contract

BASE = {"_airbyte_extracted_at": pa.int64(), "id": pa.int64(), "_ab_cdc_lsn": pa.int64()}
WIDEN = {"type_changes": "widen"}


def file(merging: InProcess, part: int, types: dict[str, pa.DataType], *rows: dict[str, Any]) -> Any:
    """Write one object; rows are numbered by `id` unless they have one."""
    from tests.support.merging import parquet

    records = [{"id": part * 10 + i, "_ab_cdc_lsn": part * 10 + i} | row for i, row in enumerate(rows)]
    return merging.put(parquet(records, pa.schema(list((BASE | types).items()))), part=part)


def stream(**changes: Any) -> StreamContract:
    """Return a stream with an id and these columns, or other fields of its contract."""
    fields = {name: changes.pop(name) for name in ("evolution", "mode", "order") if name in changes}
    columns = {n: c if isinstance(c, dict) else {"type": c} for n, c in changes.items()}
    return contract(columns={"id": {"type": "int64", "nullable": False}} | columns, **fields)


def column(merging: InProcess, name: str) -> list[Any]:
    """Return the live values by id."""
    return [v for (v,) in merging.query(f"SELECT {name} FROM raw_shop.orders_live ORDER BY id")]


def kind(merging: InProcess, name: str) -> str:
    query = "SELECT data_type FROM duckdb_columns() WHERE table_name = 'orders' AND column_name = "
    return str(merging.query(f"{query}'{name}'")[0][0])


def test_new_column_is_added_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    merging = InProcess(stream())
    merging.land(file(merging, 0, {}, {}))
    merging.merge()
    merging.land(file(merging, 1, {"colour": pa.string()}, {"colour": "red"}))
    with caplog.at_level(logging.WARNING):
        merging.merge()
    assert column(merging, "colour") == [None, "red"]
    assert "schema.drift: shop.orders: colour (string) is new" in caplog.text
    caplog.clear()
    merging.land(file(merging, 2, {"colour": pa.string()}, {"colour": "blue"}))
    merging.merge()
    assert column(merging, "colour") == [None, "red", "blue"]
    assert "schema.drift" not in caplog.text
    merging.land(file(merging, 3, {}, {}))
    merging.merge()
    assert column(merging, "colour") == [None, "red", "blue", None]


def test_ignored_new_columns_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    merging = InProcess(stream(evolution={"new_columns": "ignore"}))
    merging.land(file(merging, 0, {"colour": pa.string()}, {"colour": "red"}))
    assert merging.merge()[0].merged == 1
    assert merging.query("SELECT 1 FROM duckdb_columns() WHERE column_name = 'colour'") == []
    assert "colour (string) is ignored" in caplog.text


def test_new_columns_may_quarantine_their_files() -> None:
    merging = InProcess(stream(evolution={"new_columns": "quarantine"}))
    merging.land(file(merging, 0, {"colour": pa.string()}, {"colour": "red"}), file(merging, 1, {}, {}))
    (balance,) = merging.merge()
    assert (balance.merged, balance.quarantined) == (1, 1)
    ((reason, detail),) = merging.query("SELECT reason, detail FROM ops.quarantine")
    assert reason == "file.new_column"
    assert "the contract has no colour" in detail


CASES = [
    ("int64", [(pa.int64(), 1), (pa.float64(), 0.5)], "DOUBLE", [1.0, 0.5]),
    (
        "int64",
        [(pa.int64(), 1), (pa.decimal128(5, 2), Decimal("0.50"))],
        "DECIMAL(21,2)",
        [Decimal(1), Decimal("0.50")],
    ),
    (
        "decimal(5,2)",
        [(pa.decimal128(5, 2), Decimal("1.25")), (pa.decimal128(8, 4), Decimal("0.0005"))],
        "DECIMAL(8,4)",
        [Decimal("1.25"), Decimal("0.0005")],
    ),
    (
        "date",
        [(pa.date32(), date(2026, 1, 1)), (pa.timestamp("us", "UTC"), datetime(2026, 1, 2, 3, tzinfo=UTC))],
        "TIMESTAMP WITH TIME ZONE",
        [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 3, tzinfo=UTC)],
    ),
]


@pytest.mark.parametrize(("declared", "values", "stored", "expected"), CASES)
@pytest.mark.parametrize("apart", [False, True], ids=["one batch", "two batches"])
def test_type_widens_across_files_and_the_table(
    declared: str, values: list[Any], stored: str, expected: list[Any], apart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    merging = InProcess(stream(v=declared, evolution=WIDEN))
    objects = [file(merging, i, {"v": t}, {"v": value}) for i, (t, value) in enumerate(values)]
    for landed in [[o] for o in objects] if apart else [objects]:
        merging.land(*landed)
        assert merging.merge()[0].quarantined == 0
    merging.land(file(merging, 2, {"v": values[0][0]}, {"v": values[0][1]}))
    merging.merge()
    assert kind(merging, "v") == stored
    stored_values = [v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in column(merging, "v")]
    assert stored_values == [*expected, expected[0]]
    assert "schema.drift: shop.orders: v became" in caplog.text


def test_without_policy_wider_type_is_quarantined() -> None:
    merging = InProcess(stream(v="int64"))
    merging.land(file(merging, 0, {"v": pa.float64()}, {"v": 0.5}, {"v": 2.0}))
    assert merging.merge()[0].quarantined == 1
    assert column(merging, "v") == [2]


def test_large_integer_never_becomes_a_float() -> None:
    merging = InProcess(stream(v="int64", evolution=WIDEN))
    great = (1 << 53) + 1
    merging.land(file(merging, 0, {"v": pa.int64()}, {"v": great}), file(merging, 1, {"v": pa.float64()}, {"v": 0.5}))
    assert merging.merge()[0].quarantined == 1, "in one batch the row is refused"
    merging = InProcess(stream(v="int64", evolution=WIDEN))
    merging.land(file(merging, 0, {"v": pa.int64()}, {"v": great}))
    merging.merge()
    merging.land(file(merging, 1, {"v": pa.float64()}, {"v": 0.5}))
    with pytest.raises(ContractError, match=r"shop.orders: column v can't become float64: 1 rows hold integers"):
        merging.merge()
    assert column(merging, "v") == [great]


@pytest.mark.parametrize(
    ("of", "value", "text"),
    [
        (pa.int64(), 7, "7"),
        (pa.float64(), 0.5, "0.5"),
        (pa.bool_(), True, "true"),
        (pa.string(), "é", "é"),
        (pa.struct([("a", pa.int64())]), {"a": 1}, '{"a": 1}'),
        (pa.date32(), date(2026, 1, 1), "2026-01-01"),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_text_fallback_needs_the_contract(of: pa.DataType, value: Any, text: str, allowed: bool) -> None:
    merging = InProcess(stream(v={"type": "string", "any_type": allowed}, evolution=WIDEN))
    merging.land(file(merging, 0, {"v": of}, {"v": value}))
    quarantined = 0 if allowed or of == pa.string() else 1
    assert merging.merge()[0].quarantined == quarantined
    assert column(merging, "v") == ([text] if not quarantined else [])


def test_column_order_is_free_and_loss_reported(caplog: pytest.LogCaptureFixture) -> None:
    merging = InProcess(stream(a="int64", b="string"))
    ordered = file(merging, 0, {"a": pa.int64(), "b": pa.string()}, {"a": 1, "b": "x"})
    reordered = file(merging, 1, {"b": pa.string(), "a": pa.int64()}, {"a": 2, "b": "y"})
    merging.land(ordered, reordered, file(merging, 2, {"a": pa.int64()}, {"a": 3}))
    merging.merge()
    assert (column(merging, "a"), column(merging, "b")) == ([1, 2, 3], ["x", "y", None])
    assert "schema.drift: shop.orders: b is missing" in caplog.text


def test_nested_records_are_json() -> None:
    merging = InProcess(stream(known="json"))
    nested = pa.struct([("a", pa.list_(pa.int64()))])
    value = {"a": [1, 2]}
    merging.land(file(merging, 0, {"known": nested, "new": nested}, {"known": value, "new": value}))
    merging.merge()
    assert column(merging, "known->>'a'") == column(merging, "new->>'a'") == ["[1,2]"]


def test_incompatible_type_quarantines_its_file() -> None:
    merging = InProcess(stream(v="int64", evolution=WIDEN))
    merging.land(file(merging, 0, {"v": pa.string()}, {"v": "many"}), file(merging, 1, {"v": pa.int64()}, {"v": 1}))
    assert merging.merge()[0].quarantined == 1
    assert merging.query("SELECT reason FROM ops.quarantine") == [("file.type",)]


def test_key_and_order_columns_never_change_type() -> None:
    merging = InProcess(stream(at="int64", order=["at"], mode="append", evolution=WIDEN))
    merging.land(file(merging, 0, {"at": pa.float64()}, {"at": 0.5}, {"at": 1.0}))
    assert merging.merge()[0].quarantined == 1
    assert kind(merging, "at") == "BIGINT"


def test_contract_widens_the_table_or_is_rejected() -> None:
    merging = InProcess(stream(v="int64"))
    merging.land(file(merging, 0, {"v": pa.int64()}, {"v": 1}))
    merging.merge()
    merging.contract = stream(v="float64")
    merging.merge()
    assert kind(merging, "v") == "DOUBLE"
    merging.contract = stream(v="date")
    with pytest.raises(ContractError, match=r"shop.orders: column v is float64 in the table, the contract says date"):
        merging.merge()
