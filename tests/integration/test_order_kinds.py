"""Text order columns sort as what the text means: instants, numbers and the names of logs, not as letters."""

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from tests.support.in_process import InProcess
from tests.support.merging import contract, parquet

SCHEMA = pa.schema([("_airbyte_extracted_at", pa.int64()), ("id", pa.int64()), ("name", pa.string())])


def merging(column: str, **options: Any) -> InProcess:
    """Return a stream ordered by a text column."""
    declared = {} if column.startswith("_ab_cdc") else {column: {"type": "string"}}
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}} | declared
    return InProcess(contract(order=[column], columns=columns, **options))


def land(place: InProcess, column: str, *rows: tuple[int, str, str | None]) -> None:
    """Land a file of (id, name, cursor)."""
    schema = SCHEMA.append(pa.field(column, pa.string()))
    place.land(place.put(parquet([{"id": id, "name": name, column: cursor} for id, name, cursor in rows], schema)))


@pytest.mark.parametrize(
    ("column", "kind", "older", "newer"),
    [
        ("_ab_cdc_updated_at", "", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.500Z"),
        ("_ab_cdc_updated_at", "", "2024-01-01T00:00:00.123Z", "2024-01-01T00:00:00.123456789Z"),
        ("_ab_cdc_updated_at", "", "2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z"),
        ("_ab_cdc_updated_at", "", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000000001Z"),
        ("_ab_cdc_log_file", "", "mysql-bin.999999", "mysql-bin.1000000"),
        ("_ab_cdc_event_serial_no", "", "9", "10"),
        ("at", "instant", "2024-01-01 00:00:00", "2024-01-01 00:00:00.5"),
        ("at", "integer", "-9223372036854775808", "-2"),
        ("at", "lsn", "0000002c:00000c00:0003", "0000002C:00000c00:0010"),
        ("at", "lsn", "9/B374D848", "16/00000000"),
        ("at", "text", "10", "9"),
    ],
)
@pytest.mark.parametrize("arrival", ["in order", "late", "in one file"])
def test_newer_text_wins(column: str, kind: str, older: str, newer: str, arrival: str) -> None:
    place = merging(column, order_as={column: kind} if kind else {})
    rows = [(1, "older", older), (1, "newer", newer)]
    if arrival == "in one file":
        land(place, column, *reversed(rows))
    else:
        for row in rows if arrival == "in order" else reversed(rows):
            land(place, column, row)
    place.merge()
    assert place.live() == {1: "newer"}


def test_delete_between_two_instants_holds() -> None:
    place = merging("_ab_cdc_updated_at")
    schema = SCHEMA.append(pa.field("_ab_cdc_updated_at", pa.string())).append(
        pa.field("_ab_cdc_deleted_at", pa.string())
    )
    rows = [
        {"id": 3, "name": "third", "_ab_cdc_updated_at": "2024-01-01T00:00:00Z"},
        {
            "id": 3,
            "_ab_cdc_updated_at": "2024-01-01T00:00:00.900Z",
            "_ab_cdc_deleted_at": "2024-01-01T00:00:00.900Z",
        },
    ]
    place.land(place.put(parquet(rows, schema)))
    place.merge()
    assert place.live() == {}


def test_row_with_meaningless_text_is_refused() -> None:
    place = merging("_ab_cdc_updated_at")
    land(place, "_ab_cdc_updated_at", (1, "good", "2024-01-01T00:00:00Z"), (2, "bad", "yesterday"), (3, "none", None))
    (balance,) = place.merge()
    assert (balance.merged, balance.quarantined) == (2, 1)
    assert place.live() == {1: "good", 3: "none"}
    ((reason, detail),) = place.query("SELECT reason, detail FROM ops.quarantine")
    assert reason == "row.order"
    assert detail.startswith('order column _ab_cdc_updated_at is "yesterday", which does not mean an instant; ')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "order column 'at' is text; say what it means"),
        ({"order_as": {"name": "instant"}}, "order_as names 'name', which is not a text column of `order`"),
        ({"order_as": {"at": "date"}}, "Input should be 'instant', 'integer', 'lsn', 'binlog' or 'text'"),
    ],
)
def test_open_or_wrong_meaning_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        merging("at", **options)
