"""`python -m local.connectors.mysql spec | check | discover | read`."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pymysql  # type: ignore[import-untyped]

from local.connectors.columns import typed
from local.connectors.mysql.server import Column, Table, connect, load_tables, rows
from local.connectors.protocol import ConnectorError, Json, Output, Stream
from local.connectors.run import run
from millrace.airbyte.specifications import MYSQL

BATCH_ROWS = 50_000


class MySql:
    """The connector."""

    specification = MYSQL
    errors = (pymysql.MySQLError,)

    def check(self, config: Json) -> None:
        """Connect, and look for tables."""
        with connect(config) as connection:
            load_tables(connection, config["database"])

    def discover(self, config: Json) -> list[Json]:
        """Return the tables and views as streams."""
        with connect(config) as connection:
            tables = load_tables(connection, config["database"])
        return [
            {
                "name": table.name,
                "namespace": config["database"],
                "description": table.description,
                "supported_sync_modes": ["full_refresh", "incremental"],
                "json_schema": {"type": "object", "properties": {c.name: c.stream_property for c in table.columns}},
                "source_defined_primary_key": [[name] for name in table.key],
            }
            for table in tables.values()
        ]

    def read(self, config: Json, streams: Sequence[Stream], states: list[Json], output: Output) -> None:
        """Write each stream in full, or from its cursor's value on, whose rows come again."""
        with connect(config) as connection:
            tables = load_tables(connection, config["database"])
            for stream in streams:
                if stream.name not in tables:
                    raise ConnectorError(
                        f"stream {stream.name}: no such table, or the user may not read it", "system_error"
                    )
                output.status(stream, "STARTED")
                _read_one(connection, stream, tables[stream.name], _cursor_before(stream, states), output)
                output.status(stream, "COMPLETE")


def _cursor_before(stream: Stream, states: list[Json]) -> str | None:
    bodies = [s["stream"] for s in states or [] if s.get("type") == "STREAM"]
    own = [b.get("stream_state") or {} for b in bodies if b["stream_descriptor"]["name"] == stream.name]
    return own[0].get("cursor") if own and own[0].get("cursor_field") == [stream.cursor] else None


def _read_one(connection: Any, stream: Stream, table: Table, since: str | None, output: Output) -> None:
    """Read on one snapshot, so that the state is the highest value among the rows that were read."""
    name = f"`{table.name.replace('`', '``')}`"
    columns = {column.name: column for column in table.columns}
    if stream.incremental and stream.cursor not in columns:
        raise ConnectorError(
            f"stream {stream.name} has no cursor column {stream.cursor!r}; the first column of `order` in its contract"
            " must be a column of the table that grows with each change"
        )
    cursor = f"`{stream.cursor.replace('`', '``')}`"
    where, values = (f" WHERE {cursor} >= %s", [since]) if stream.incremental and since is not None else ("", [])
    if stream.most_rows:
        where = f" LIMIT {stream.most_rows}"
    rows(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    rows(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    try:
        highest = None
        if stream.incremental:
            ((highest,),) = rows(connection, f"SELECT MAX({cursor}) FROM {name}{where}", *values)  # noqa: S608  names are quoted
        written = ", ".join(column.sql for column in table.columns)
        query = f"SELECT {written} FROM {name}{where}"  # noqa: S608  names are quoted
        for part in _parts(connection, query, values, table.columns):
            output.rows(stream, part)
    finally:
        rows(connection, "ROLLBACK")
    if stream.incremental and (highest or since) is not None:
        output.stream_state(stream, {"cursor_field": [stream.cursor], "cursor": highest or since})


def _parts(connection: Any, query: str, values: list[Any], columns: Sequence[Column]) -> Iterator[pa.Table]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        while part := cursor.fetchmany(BATCH_ROWS):
            texts = (pa.array([_text(v) for v in values], pa.string()) for values in zip(*part, strict=True))
            arrays = [typed(array, column.kind) for array, column in zip(texts, columns, strict=True)]
            yield pa.Table.from_arrays(arrays, [column.name for column in columns])


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)


if __name__ == "__main__":
    sys.exit(run(MySql()))
