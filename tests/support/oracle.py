"""The model of a merge in thirty lines, from any history of a stream to the expected table; and generated histories."""

import io
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from beam_job.steps.types import arrow_type
from millrace.contracts.stream import StreamContract

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
GONE_AT = "2026-01-01T12:00:00Z"


@dataclass(frozen=True)
class Row:
    """One row of a file; `note` is unique within its key, and `gone` makes it a delete."""

    key: tuple[Any, ...]
    order: tuple[Any, ...]
    extracted: int
    gone: bool
    note: int
    amount: float | None


@dataclass(frozen=True)
class File:
    """One object of a sync; files differ in format and in the type of `amount`; some have a column less or more."""

    rows: tuple[Row, ...]
    ending: str
    amount: str
    extra: bool


@dataclass(frozen=True)
class Sync:
    """The files that one job left in the lake."""

    job: int
    epoch: int
    generation: int
    files: tuple[File, ...]


@dataclass(frozen=True)
class Stream:
    """A contract, and values of its key and order columns."""

    contract: StreamContract
    keys: st.SearchStrategy[tuple[Any, ...]]
    orders: st.SearchStrategy[tuple[Any, ...]]

    @property
    def overwrites(self) -> bool:
        return self.contract.mode == "overwrite"


def model(stream: Stream, syncs: list[Sync]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return per key: note, amount and extra column of the newest upsert; if the row is live; if it has a delete."""
    min_version = max(
        (sync_version(s) for s in syncs if stream.overwrites and s.files and is_whole(stream, s)), default=(0, 0)
    )
    registers: dict[tuple[Any, ...], dict[bool, tuple[Any, ...]]] = {}
    for sync in (s for s in syncs if sync_version(s) >= min_version):
        for part, file in enumerate(sync.files):
            for position, row in enumerate(file.rows):
                if is_invalid(stream, row, file) or (row.gone and stream.contract.deletes == "ignore"):
                    continue
                version = (sync.epoch, sync.generation, *map(rank, row.order), row.extracted, sync.job, part, position)
                key = row.key if stream.contract.key else (sync.job, part, position)
                newest = registers.setdefault(key, {})
                if row.gone not in newest or newest[row.gone][0] < version:
                    newest[row.gone] = (version, row.note, stored_amount(row, file), row.note if file.extra else None)
    table = {}
    for key, newest in registers.items():
        upsert, delete = newest.get(False), newest.get(True)
        live = upsert is not None and (delete is None or delete[0] < upsert[0])
        table[key] = (*(upsert[1:] if upsert else (None, None, None)), live, delete is not None)
    return table


def sync_version(sync: Sync) -> tuple[int, int]:
    """Return the prefix that all versions of a sync share."""
    return sync.epoch, sync.generation


def is_whole(stream: Stream, sync: Sync) -> bool:
    """Return whether a snapshot may replace the table: every row has a key."""
    return not any(None in row.key for file in sync.files for row in file.rows)


def rank(value: Any) -> tuple[Any, ...]:
    """Return a value's rank within its type: NULL, numbers, NaN."""
    if value is None:
        return (0,)
    if value in INSTANTS:
        return (1, INSTANTS.index(value))
    return (2,) if isinstance(value, float) and math.isnan(value) else (1, value)


def is_invalid(stream: Stream, row: Row, file: File) -> bool:
    """Return whether a row breaks the contract: no key, or half an amount."""
    half = stream.contract.evolution.type_changes != "widen" and (stored_amount(row, file) or 0.0) % 1 != 0
    return half or (bool(stream.contract.key) and None in row.key)


def stored_amount(row: Row, file: File) -> float | None:
    """Return a row's amount as its file stores it."""
    if row.gone or row.amount is None or not file.amount:
        return None
    return row.amount if file.amount == "float64" else row.amount // 1


def declare(mode: str, key: dict[str, str], order: dict[str, str], **options: Any) -> StreamContract:
    """Return a contract `shop.orders` with these keys and order columns, and `note` and `amount`."""
    own = {n: {"type": t} for n, t in order.items() if not n.startswith("_ab_cdc")}
    fields = {
        "source": "shop",
        "stream": "orders",
        "mode": mode,
        "key": list(key) or "position",
        "order": list(order),
        "columns": {n: {"type": t, "nullable": False} for n, t in key.items()}
        | own
        | {"note": {"type": "int64"}, "amount": {"type": "int64"}},
    }
    return StreamContract.model_validate(fields | options)


INSTANTS = ("0999-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000000001Z", "2024-01-01T00:00:00.5Z")
LSN = st.integers(1, 4)
TEXT = st.sampled_from(["", "a", "a\x00", "é"])
STREAMS = {
    "changes by id": Stream(
        declare("cdc", {"id": "int64"}, {"_ab_cdc_lsn": "int64"}), st.tuples(st.integers(-1, 1)), st.tuples(LSN)
    ),
    "changes by two keys and two log columns": Stream(
        declare(
            "cdc",
            {"id": "int64", "region": "string"},
            {"_ab_cdc_lsn": "int64", "_ab_cdc_updated_at": "string"},
            order_as={"_ab_cdc_updated_at": "text"},
        ),
        st.tuples(st.integers(0, 1), st.sampled_from(["", "x"])),
        st.tuples(st.integers(1, 2), st.none() | TEXT),
    ),
    "instants as text": Stream(
        declare("cdc", {"id": "int64"}, {"_ab_cdc_updated_at": "string"}),
        st.tuples(st.integers(0, 1)),
        st.tuples(st.none() | st.sampled_from(INSTANTS)),
    ),
    "deletes ignored": Stream(
        declare("cdc", {"id": "int64"}, {"_ab_cdc_lsn": "int64"}, deletes="ignore"),
        st.tuples(st.integers(0, 2)),
        st.tuples(LSN),
    ),
    "cursor that may be null": Stream(
        declare("append", {"code": "string"}, {"at": "timestamp"}),
        st.tuples(TEXT),
        st.tuples(st.none() | st.integers(0, 2).map(lambda s: EARLY + timedelta(microseconds=s))),
    ),
    "decimal key, float cursor": Stream(
        declare("append", {"day": "date", "price": "decimal(10,2)"}, {"rate": "float64"}),
        st.tuples(st.just(date(2026, 1, 1)), st.sampled_from([Decimal("1.00"), Decimal("-1.01")])),
        st.tuples(st.sampled_from([None, -math.inf, -0.0, 0.0, 1.5, math.nan])),
    ),
    "types widened": Stream(
        declare("append", {"id": "int64"}, {"at": "int64"}, evolution={"type_changes": "widen"}),
        st.tuples(st.integers(0, 2)),
        st.tuples(st.integers(0, 2)),
    ),
    "snapshots": Stream(declare("overwrite", {"id": "int64"}, {}), st.tuples(st.integers(0, 3)), st.just(())),
    "no key": Stream(declare("append", {}, {}), st.just(()), st.just(())),
}


@st.composite
def rows(draw: st.DrawFn, stream: Stream) -> Row:
    """Generate a row; occasionally without a key, or with an amount that is not an integer."""
    key = draw(stream.keys)
    if key and draw(st.integers(0, 19)) == 19:
        key = (None, *key[1:])
    gone = stream.contract.mode == "cdc" and draw(st.booleans())
    amount = draw(st.sampled_from([None, 1.0, 2.0, 2.0, 2.0 if stream.overwrites else 0.5]))
    return Row(key, draw(stream.orders), draw(st.integers(0, 1)), gone, draw(st.integers(0, 10**9)), amount)


@st.composite
def histories(draw: st.DrawFn, stream: Stream) -> list[Sync]:
    """Generate syncs in the order of their jobs; later ones may repeat rows of earlier ones."""
    syncs: list[Sync] = []
    earlier: list[Row] = []
    for job in range(1, draw(st.integers(1, 5)) + 1):
        new = draw(st.lists(rows(stream), max_size=8))
        new += draw(st.lists(st.sampled_from(earlier), max_size=2)) if earlier else []
        earlier += new
        cuts = sorted(draw(st.lists(st.integers(0, len(new)), max_size=2)))
        pieces = [new[a:b] for a, b in zip([0, *cuts], [*cuts, len(new)], strict=True)]
        files = [File(tuple(p), draw(ENDINGS), draw(AMOUNTS), draw(EXTRA)) for p in pieces]
        generation = job if stream.overwrites else draw(RARELY_ONE)
        syncs.append(Sync(job, draw(RARELY_ONE), generation, tuple(files)))
    return syncs


ENDINGS = st.sampled_from(["parquet", "parquet", "avro"])
AMOUNTS = st.sampled_from(["int64", "int64", "float64", "int32", ""])
EXTRA = st.sampled_from([False, False, True])
RARELY_ONE = st.sampled_from([0, 0, 0, 1])


def table_of(stream: Stream, file: File, generation: int) -> pa.Table:
    """Return a file's rows as Airbyte writes them: a delete has only its key."""
    contract, count = stream.contract, len(file.rows)
    types = contract.order_types
    columns = {
        "_airbyte_raw_id": pa.array(["x"] * count, pa.string()),
        "_airbyte_extracted_at": pa.array([1_700_000_000_000 + r.extracted for r in file.rows], pa.int64()),
        "_airbyte_generation_id": pa.array([generation] * count, pa.int64()),
    }
    for index, name in enumerate(contract.key):
        columns[name] = pa.array([r.key[index] for r in file.rows], arrow_type(types[name]))
    for index, name in enumerate(contract.order):
        columns[name] = pa.array([r.order[index] for r in file.rows], arrow_type(types[name]))
    columns["note"] = pa.array([None if r.gone else r.note for r in file.rows], pa.int64())
    if file.amount:
        kind = arrow_type(file.amount) if file.amount != "int32" else pa.int32()
        columns["amount"] = pa.array([stored_amount(r, file) for r in file.rows], pa.float64()).cast(kind)
    if file.extra:
        columns["extra"] = columns["note"]
    if contract.mode == "cdc":
        columns["_ab_cdc_deleted_at"] = pa.array([GONE_AT if r.gone else None for r in file.rows], pa.string())
    return pa.table(columns)


def bytes_of(table: pa.Table, ending: str) -> bytes:
    """Return a table as Parquet or Avro."""
    buffer = io.BytesIO()
    if ending == "parquet":
        pq.write_table(table, buffer)
        return buffer.getvalue()
    fields = [{"name": f.name, "type": ["null", AVRO[str(f.type)]], "default": None} for f in table.schema]
    schema = fastavro.parse_schema({"type": "record", "name": "record", "fields": fields})
    fastavro.writer(buffer, schema, table.to_pylist())
    return buffer.getvalue()


AVRO: dict[str, Any] = {
    "string": "string",
    "int64": "long",
    "int32": "int",
    "double": "double",
    "date32[day]": {"type": "int", "logicalType": "date"},
    "timestamp[us, tz=UTC]": {"type": "long", "logicalType": "timestamp-micros"},
    "decimal128(10, 2)": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
}
