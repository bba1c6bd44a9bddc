"""A stream's state in, its rows and changes out: a snapshot first, then the change log from its last position."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.airport_ops.protocol import ConnectorError
from local.airport_ops.tables import CHANGES, DELETED_AT, LSN, UPDATED_AT, Table

CHECKPOINT_ROWS = 5_000

State = dict[str, Any]
Data = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """A row or a delete as it goes to the lake, and the state that holds once it has arrived."""

    data: Data
    state: State


def head(connection: sqlite3.Connection) -> int:
    """The newest position of the change log, 0 before the first change."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (CHANGES,)).fetchone()
    return int(row[0]) if row else 0


def read(connection: sqlite3.Connection, table: Table, state: State | None, newest: int) -> Iterator[Item]:
    """Everything of a table that `state` does not cover, up to the log's head.

    A snapshot's rows all bear the position at which it began. An interrupted snapshot goes on after its last row; what
    changed meanwhile follows from the log.

    Raises:
        ConnectorError: the log is shorter than the state's position.
    """
    state = state or {"lsn": newest, "snapshot_after": 0}
    position = int(state["lsn"])
    if position > newest:
        raise ConnectorError(
            f"the state of {table.name} is at position {position} but the change log ends at {newest}: the database was"
            " made anew or restored; reset the connection and raise its epoch"
        )
    if "snapshot_after" in state:
        yield from _snapshot(connection, table, position, int(state["snapshot_after"]))
    yield from _log(connection, table, position, newest)


def final_state(newest: int) -> State:
    """The state of a stream that has been read to the log's head."""
    return {"lsn": newest}


def _snapshot(connection: sqlite3.Connection, table: Table, position: int, after: int) -> Iterator[Item]:
    columns = ", ".join(f'"{column}"' for column in table.columns)
    query = f"SELECT rowid, {columns} FROM {table.name} WHERE rowid > ? ORDER BY rowid"  # noqa: S608  our own names
    for rowid, *values in connection.execute(query, (after,)):
        row = dict(zip(table.columns, values, strict=True))
        cdc = {LSN: position, UPDATED_AT: row["updated_at"], DELETED_AT: None}
        yield Item(row | cdc, {"lsn": position, "snapshot_after": rowid})


def _log(connection: sqlite3.Connection, table: Table, position: int, newest: int) -> Iterator[Item]:
    query = f"""SELECT lsn, op, key, row, changed_at FROM {CHANGES}
        WHERE table_name = ? AND lsn > ? AND lsn <= ? ORDER BY lsn"""  # noqa: S608
    for lsn, op, key, row, changed_at in connection.execute(query, (table.name, position, newest)):
        deleted = op == "delete"
        cdc = {LSN: lsn, UPDATED_AT: changed_at, DELETED_AT: changed_at if deleted else None}
        yield Item(json.loads(key if deleted else row) | cdc, final_state(lsn))
