"""A stream of people with two long texts: its rows, every history of a key, and what the table must then hold."""

import itertools
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.contracts.stream import StreamContract
from tests.support.engines import OnEngine
from tests.support.in_process import InProcess
from tests.support.merging import GONE_AT, PARQUET, contract, parquet

UNCHANGED = "__debezium_unavailable_value"
COLUMNS: dict[str, Any] = {"id": {"type": "int64", "nullable": False}} | {n: {"type": "string"} for n in ("bio", "cv")}
SCHEMA = pa.schema(
    [f for f in PARQUET if f.name not in ("name", "amount")] + [("bio", pa.string()), ("cv", pa.string())]
)
OWN = {"_airbyte_raw_id": "x", "_airbyte_extracted_at": 1_700_000_000_000, "_airbyte_generation_id": 0}
SIDE = "ops.unchanged__shop__orders"
STORED = "SELECT id, bio, cv, coalesce(_delete_version < _version, true) FROM"
Event = tuple[int, str | None, str | None, bool]  # lsn, bio, cv, whether it is a delete
Row = dict[str, Any]


def people(**changes: Any) -> StreamContract:
    return contract(**{"columns": COLUMNS} | changes)


def person(id: int, lsn: int, bio: str | None = UNCHANGED, cv: str | None = UNCHANGED) -> Row:
    return {"id": id, "_ab_cdc_lsn": lsn, "bio": bio, "cv": cv}


def land(merging: InProcess, *rows: Row, schema: pa.Schema = SCHEMA) -> None:
    merging.land(merging.put(parquet(list(rows), schema)))


def rows(merging: InProcess) -> list[tuple[Any, ...]]:
    return merging.query("SELECT id, bio, cv FROM raw_shop.orders_live ORDER BY id")


def model(events: list[Event]) -> tuple[Any, ...]:
    """Return the newest real value of each column of a key, and whether the key is live."""
    upserts = sorted(event for event in events if not event[3])
    newest = [next((u[c] for u in reversed(upserts) if u[c] != UNCHANGED), None) for c in (1, 2)]
    return (*newest, upserts[-1][0] > max((event[0] for event in events if event[3]), default=0))


def batches(events: list[Any]) -> Iterator[list[tuple[Any, ...]]]:
    """Yield every order of the events, cut into batches in every way; within a batch the order does not matter."""
    if not events:
        yield []
    for size in range(1, len(events) + 1):
        for first in itertools.combinations(events, size):
            for rest in batches([event for event in events if event not in first]):
                yield [first, *rest]


def histories(lsns: list[int], values: list[str | None], deleted: int) -> Iterator[list[Event]]:
    """Yield every choice of values for both columns of each upsert, and one delete."""
    for chosen in itertools.product(itertools.product(values, values), repeat=len(lsns)):
        upserts = [(lsn, *(v and v.format(lsn) for v in pair), False) for lsn, pair in zip(lsns, chosen, strict=True)]
        yield [*upserts, (deleted, None, None, True)]  # type: ignore[list-item]


def merge_schedules(merging: InProcess | OnEngine, schedules: list[list[tuple[Event, ...]]]) -> None:
    """Merge the n-th batch of all schedules together; each schedule is a key."""
    for number in range(max(map(len, schedules))):
        events = [(key, e) for key, parts in enumerate(schedules) if number < len(parts) for e in parts[number]]
        columns = {"id": [key for key, _ in events], "_ab_cdc_lsn": [e[0] for _, e in events]}
        columns |= {"bio": [e[1] for _, e in events], "cv": [e[2] for _, e in events]}
        columns |= {"_ab_cdc_deleted_at": [GONE_AT if e[3] else None for _, e in events]}
        columns |= {name: [value] * len(events) for name, value in {**OWN, "_ab_cdc_updated_at": None}.items()}
        merging.land(merging.put(parquet_of(pa.table({f.name: pa.array(columns[f.name], f.type) for f in SCHEMA}))))
        merging.merge()


def expected(schedules: list[list[tuple[Event, ...]]]) -> list[tuple[Any, ...]]:
    return [(key, *model([e for part in parts for e in part])) for key, parts in enumerate(schedules)]


def parquet_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())
