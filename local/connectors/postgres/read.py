"""Tables in full or from a cursor's value on, by COPY, out."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from local.connectors.columns import read_csv, typed
from local.connectors.postgres.server import Connection, snapshot
from local.connectors.postgres.tables import Table
from local.connectors.postgres.types import PgColumn
from local.connectors.protocol import ConnectorError, Json, Output, Stream

BATCH_BYTES, BATCH_ROWS = 16 << 20, 100_000
# The start of the oldest transaction that may still write: rows that it stamped with its time are not visible yet.
OLDEST = """
SELECT least(clock_timestamp(), (
  SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
))
"""


def read_full(connection: Connection, stream: Stream, table: Table, output: Output) -> None:
    """Write all rows of a table."""
    with snapshot(connection):
        limit = sql.SQL(" LIMIT {}").format(sql.Literal(stream.most_rows)) if stream.most_rows else None
        for rows in copy_rows(connection, table, limit):
            output.rows(stream, rows)


def read_from_cursor(connection: Connection, stream: Stream, table: Table, state: Json, output: Output) -> None:
    """Write the rows whose cursor is at least the state's value, and the new state: rows with its value come again.

    Of a cursor of times the state stays before the oldest open transaction, as its rows have its older time.

    Raises:
        ConnectorError: the table has no such column.
    """
    cursor = next((column for column in table.columns if column.name == stream.cursor), None)
    if cursor is None:
        raise ConnectorError(
            f"stream {stream.name} has no cursor column {stream.cursor!r}; the first column of `order` in its contract"
            " must be a column of the table that grows with each change"
        )
    name = sql.Identifier(cursor.name)
    since = state.get("cursor") if state.get("cursor_field") == [cursor.name] else None
    where: sql.SQL | sql.Composed = sql.SQL("")
    if since is not None:
        where = sql.SQL(" WHERE {} >= {}::{}").format(name, sql.Literal(since), sql.SQL(cursor.sql_type))
    (oldest,) = _one(connection, sql.SQL(OLDEST)) if cursor.kind.contract == "timestamp" else (None,)
    with snapshot(connection):
        highest = sql.SQL("max({})").format(name)
        if oldest is not None:
            highest = sql.SQL("least(max({}), {})").format(name, _limit(cursor, oldest))
        query = sql.SQL("SELECT ({})::text FROM {}{}").format(highest, table.sql, where)
        (reached,) = _one(connection, query) if _has_rows(connection, table, where) else (None,)
        for rows in copy_rows(connection, table, where):
            output.rows(stream, rows)
    if reached is not None or since is not None:
        output.stream_state(stream, {"cursor_field": [cursor.name], "cursor": reached or since})


def _limit(cursor: PgColumn, oldest: datetime) -> sql.Composed:
    """Return an instant in the type of a cursor: without a zone it has that in which the database's sessions begin."""
    limit = sql.SQL("{}::timestamptz").format(sql.Literal(oldest.isoformat()))
    if not cursor.kind.local:
        return limit
    return sql.SQL("timezone((SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'), {})").format(limit)


def _has_rows(connection: Connection, table: Table, where: sql.Composable) -> bool:
    (some,) = _one(connection, sql.SQL("SELECT EXISTS (SELECT 1 FROM {}{})").format(table.sql, where))
    return bool(some)


def _one(connection: Connection, query: sql.SQL | sql.Composed) -> tuple[Any, ...]:
    return connection.execute(query).fetchone() or (None,)


def copy_rows(connection: Connection, table: Table, rest: sql.Composable | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a table in parts; `rest` follows its name in the query."""
    written = sql.SQL(", ").join(
        sql.SQL(column.expression.replace("{}", "{0}")).format(sql.Identifier(column.name)) for column in table.columns
    )
    query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT (FORMAT csv)").format(written, table.sql, rest or sql.SQL(""))
    for parts in copy_out(connection, query):
        yield _table(b"".join(parts), table)


def copy_out(connection: Connection, query: sql.Composable) -> Iterator[list[bytes]]:
    """Yield the lines of a COPY as the server sends them, many at a time.

    psycopg's own loop over a COPY goes through five more functions for each line, which was a third of the time.
    """
    wire = connection.pgconn
    result = wire.exec_(query.as_bytes(connection))
    if result.status != ExecStatus.COPY_OUT:
        raise error_from_result(result)
    more = True
    while more:
        parts: list[bytes] = []
        size = 0
        while size < BATCH_BYTES and len(parts) < BATCH_ROWS:
            length, part = wire.get_copy_data(0)
            if length <= 0:
                more = False
                break
            size += length
            parts.append(bytes(part))  # which, unlike memory views, the garbage collector does not walk over
        if parts:
            yield parts
    while end := wire.get_result():
        if end.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(end)


def _table(data: bytes, table: Table) -> pa.Table:
    names = [column.name for column in table.columns]
    columns = zip(read_csv(data, names), table.columns, strict=True)
    return pa.Table.from_arrays([typed(texts, column.kind) for texts, column in columns], names)
