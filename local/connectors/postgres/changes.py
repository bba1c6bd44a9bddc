"""Changes of the log in; rows in batches, and the positions at which all rows before are written, out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from psycopg import sql

from local.connectors.columns import typed
from local.connectors.postgres.pgoutput import (
    UNCHANGED,
    Begin,
    Change,
    Commit,
    Decoder,
    Relation,
    Row,
    Truncate,
    Unchanged,
)
from local.connectors.postgres.tables import Table
from local.connectors.postgres.types import PgColumn, PgType, column_of
from local.connectors.protocol import Output, Stream

if TYPE_CHECKING:
    from local.connectors.postgres.server import Connection
    from local.connectors.postgres.slot import Slot

PLACEHOLDER = "__debezium_unavailable_value"  # what a contract takes for an unchanged value without saying so
PLACEHOLDERS = {"string": PLACEHOLDER, "json": f'"{PLACEHOLDER}"'}  # as text of a column
BATCH_ROWS = STATE_ROWS = 50_000
BATCH_BYTES = 32 << 20


@dataclass
class Batch:
    """Changed rows of one table that wait to be written."""

    stream: Stream
    table: Table
    relation: Relation
    rows: list[Row] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    changed: list[datetime] = field(default_factory=list)
    deleted: list[datetime | None] = field(default_factory=list)
    size: int = 0

    def add(self, row: Row, position: int, at: datetime, *, deleted: bool) -> None:
        """Take a row: for a delete only its key."""
        self.rows.append(row)
        self.positions.append(position)
        self.changed.append(at)
        self.deleted.append(at if deleted else None)
        self.size += sum(len(value) for value in row.values() if isinstance(value, str))


def read_changes(
    slot: "Slot",
    connection: "Connection",
    streams: Mapping[str, Stream],
    tables: Mapping[str, Table],
    types: Mapping[int, PgType],
    output: Output,
) -> Iterator[int]:
    """Write the changes up to now; yield positions of the log up to which all are written.

    `connection` is another one than the slot's, which is busy.
    """
    decoder, batches, until = Decoder(), dict[str, Batch](), slot.head()
    writer, at, unsaved, end = Writer(connection, types, output), datetime.min, 0, 0
    for position, data in slot.read(until):
        message = decoder.decode(data)
        if isinstance(message, Begin):
            at = message.at
        elif isinstance(message, Change) and _is_read(message.relation, tables):
            unsaved += _take(message, position, at, (streams, tables, batches), writer)
        elif isinstance(message, Truncate):
            _warn(message, tables, output)
        elif isinstance(message, Commit):
            end = message.end
            if unsaved >= STATE_ROWS:
                writer.write_all(batches)
                unsaved = 0
                yield end
    writer.write_all(batches)
    yield max(end, until)


def _is_read(relation: Relation, tables: Mapping[str, Table]) -> bool:
    table = tables.get(relation.name)
    return table is not None and table.schema == relation.schema


def _warn(truncated: Truncate, tables: Mapping[str, Table], output: Output) -> None:
    for relation in truncated.relations:
        if _is_read(relation, tables):
            output.log(f"{relation.name} was truncated; its rows stay in the lake until a full refresh", "WARN")


def _take(
    change: Change,
    position: int,
    at: datetime,
    places: tuple[Mapping[str, Stream], Mapping[str, Table], dict[str, Batch]],
    writer: "Writer",
) -> int:
    """Add a change to its batch: a changed key is a delete of the old one and a new row. Return the number of rows."""
    streams, tables, batches = places
    name, table = change.relation.name, tables[change.relation.name]
    batch = batches.get(name)
    if batch is None or batch.relation != change.relation or batch.size > BATCH_BYTES or len(batch.rows) >= BATCH_ROWS:
        if batch:
            writer.write(batch)
        batch = batches[name] = Batch(streams[name], table, change.relation)
    before = None if change.old is None else {key: change.old.get(key) for key in table.key}
    moved = change.new is not None and before not in (None, {key: change.new.get(key) for key in table.key})
    if before is not None and (moved or change.new is None):
        batch.add(dict(before), position, at, deleted=True)
    if change.new is not None:
        former = change.old or {} if change.whole else {}
        row = {k: former.get(k, v) if v is UNCHANGED else v for k, v in change.new.items()}
        batch.add(writer.fetched(table, change.relation, row, every=moved), position, at, deleted=False)
    return 2 if moved else 1


@dataclass
class Writer:
    """Writes batches; asks the server to write values as a snapshot does."""

    connection: "Connection"
    types: Mapping[int, PgType]
    output: Output

    def write_all(self, batches: dict[str, Batch]) -> None:
        """Write and forget all batches."""
        for batch in batches.values():
            self.write(batch)
        batches.clear()

    def write(self, batch: Batch) -> None:
        """Write one batch."""
        from local.connectors.postgres.replication import with_log

        columns = self._columns(batch.relation)
        arrays = [self._array(column, [row.get(column.name) for row in batch.rows]) for column in columns]
        rows = pa.Table.from_arrays(arrays, [column.name for column in columns])
        self.output.rows(batch.stream, with_log(rows, batch.positions, batch.changed, batch.deleted))

    def fetched(self, table: Table, relation: Relation, row: Row, *, every: bool) -> Row:
        """Return a row with the present values of unchanged columns that no placeholder can stand for.

        `every`: its key is new, so that no earlier row has the values. A value that has changed since comes again with
        its own change; a row that is gone has NULL until its delete comes.
        """
        if UNCHANGED not in row.values():
            return row
        columns = {c.name: c for c in self._columns(relation)}
        missing = [
            columns[name]
            for name, value in row.items()
            if isinstance(value, Unchanged) and (every or columns[name].kind.contract not in PLACEHOLDERS)
        ]
        if not missing:
            return row
        written = sql.SQL(", ").join(sql.SQL("({}::text)").format(sql.Identifier(c.name)) for c in missing)
        key = sql.SQL(" AND ").join(
            sql.SQL("{} = {}::{}").format(sql.Identifier(name), sql.Literal(row[name]), sql.SQL(columns[name].sql_type))
            for name in table.key
        )
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(written, table.sql, key)
        values = self.connection.execute(query).fetchone() or (None,) * len(missing)
        return row | {column.name: value for column, value in zip(missing, values, strict=True)}

    def _columns(self, relation: Relation) -> list[PgColumn]:
        types = dict(self.types)
        return [column_of(types, name, kind, modifier) for name, kind, modifier in relation.columns]

    def _array(self, column: PgColumn, values: list[object]) -> pa.Array:
        """Return a column; NULL for what a delete lacks, a placeholder for what an update did not change."""
        texts = [value if isinstance(value, str) else None for value in values]
        if column.expression != "{}":
            texts = self._written(column, texts)
        placeholder = PLACEHOLDERS.get(column.kind.contract)
        texts = [placeholder if value is UNCHANGED else text for value, text in zip(values, texts, strict=True)]
        return typed(pa.array(texts, pa.string()), column.kind)

    def _written(self, column: PgColumn, texts: list[str | None]) -> list[str | None]:
        """Let the server write values by the column's expression."""
        expression = column.written(f"v::{column.sql_type}").replace("%", "%%")
        query = f"SELECT ({expression})::text FROM unnest(%s::text[]) WITH ORDINALITY AS given (v, n) ORDER BY n"  # noqa: S608
        return [text for (text,) in self.connection.execute(query, (texts,))]
