"""Values that one engine would refuse or change: quarantined by row, or kept, on DuckDB and on BigQuery alike."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from millrace.contracts.stream import StreamContract
from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess
from tests.support.merging import PARQUET, contract, parquet

SCHEMA = pa.schema(
    [
        *(field for field in PARQUET if field.name not in ("name", "amount")),
        ("valid_to", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("seen", pa.timestamp("us", "UTC")),
        ("doc", pa.string()),
    ]
)
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
END_US = 253_402_300_800_000_000  # the year 10000
KEPT: list[dict[str, Any]] = [
    {"valid_to": LAST, "day": date.max, "seen": LAST, "doc": '{"id": 9007199254740993, "price": 0.1}'},
    {"valid_to": FIRST, "day": date.min, "seen": FIRST, "doc": "[" * 50 + "1.50" + "]" * 50},
    {"valid_to": LAST.replace(day=30), "day": None, "seen": None, "doc": None},
]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"day": 2_932_897}, 'day is "+10000-01-01" (date32[day]), which does not fit date without loss: it holds years 1'),
    ({"day": -719_163}, 'day is "0000-12-31" (date32[day])'),
    ({"seen": END_US}, 'seen is "+10000-01-01T00:00:00Z" (timestamp[us, tz=UTC])'),
    ({"valid_to": -(2**62)}, "valid_to is "),
    ({"doc": '{"id": 123456789012345678901234}'}, "doc is "),
    ({"doc": '{"price": 0.12345678901234567891}'}, "doc is "),
    ({"doc": '{"amount": 9007199254740993.5}'}, "numbers that an integer of 64 bits or a double keeps"),
    ({"doc": '{"x": 1e400}'}, "doc is "),
    ({"doc": '{"a": 1, "a": 2}'}, "each key of an object once"),
    ({"doc": "[" * 501 + "]" * 501}, "at most 500 levels"),
]


def stream(**changes: Any) -> StreamContract:
    kinds = {"id": "int64", "valid_to": "timestamp", "day": "date", "seen": "timestamp", "doc": "json"}
    key = ("id", "valid_to")
    columns = {name: {"type": kind, "nullable": name not in key} for name, kind in kinds.items()}
    return contract(key=list(key), columns=columns, partition={"column": "valid_to"}, **changes)


def rows(lsn: int) -> list[dict[str, Any]]:
    """All rows, the good ones with the ids from 0 on, the others with those from 100 on."""
    usual = {"valid_to": LAST, "_ab_cdc_lsn": lsn}
    good = [usual | {"id": number} | row for number, row in enumerate(KEPT)]
    return good + [usual | {"id": 100 + number} | row for number, (row, _) in enumerate(REFUSED)]


def test_unheld_values_are_quarantined_by_row(engine: Engine) -> None:
    merging = OnEngine(engine, stream())
    for lsn in (10, 11):
        merging.land(merging.put(parquet(rows(lsn), SCHEMA)))
        (balance,) = merging.merge()
        assert (balance.merged, balance.quarantined) == (len(KEPT), len(REFUSED))
    found = merging.query("SELECT id, doc FROM {raw}.orders_live ORDER BY id")
    documents = [json.loads(doc) if isinstance(doc, str) else doc for _, doc in found]
    assert documents == [row["doc"] and json.loads(row["doc"]) for row in KEPT]
    times = merging.query(
        "SELECT EXTRACT(YEAR FROM valid_to), EXTRACT(YEAR FROM day) FROM {raw}.orders_live ORDER BY id"
    )
    assert times == [(9999, 9999), (1, 1), (9999, None)]
    refused = merging.query("SELECT reason, detail FROM {ops}.quarantine ORDER BY generation, detail")
    assert {reason for reason, _ in refused} == {"row.type"}
    details = [detail for _, detail in refused]
    assert len(details) == 2 * len(REFUSED)
    assert [words for _, words in REFUSED if not any(words in detail for detail in details)] == []


@pytest.mark.parametrize("statistics", [True, False])
def test_rows_are_judged_with_or_without_statistics(statistics: bool) -> None:
    merging = InProcess(stream())
    merging.land(merging.put(parquet(rows(10), SCHEMA, statistics=statistics)))
    (balance,) = merging.merge()
    assert (balance.merged, balance.quarantined) == (len(KEPT), len(REFUSED))


def test_text_column_takes_every_json() -> None:
    columns = {"id": {"type": "int64", "nullable": False}, "doc": {"type": "string", "any_type": True}}
    merging = InProcess(contract(columns=columns))
    merging.land(merging.put(parquet([{"id": 1, "_ab_cdc_lsn": 1, "doc": '{"x": 1e400, "x": 1}'}], SCHEMA)))
    merging.merge()
    assert merging.query("SELECT doc FROM raw_shop.orders_live") == [('{"x": 1e400, "x": 1}',)]
