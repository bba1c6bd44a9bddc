"""Streams and the state of the last sync in; snapshots of new tables, changes from the log, and states out.

Nothing is lost or doubled, whenever the connector or the platform ends:

- The slot is advanced to the position of the state that Airbyte gives back, thus only after its rows are in the lake.
- Before a snapshot every transaction that may have written until then has ended. A snapshot's rows count as older than
  each change that it does not show, and newer than each that came before it; other changes repeat what it shows.
- A row has the position of its change as its version, so that a change which comes again changes nothing.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from local.connectors.postgres.changes import read_changes
from local.connectors.postgres.read import copy_rows
from local.connectors.postgres.server import Connection, connect, snapshot
from local.connectors.postgres.slot import Slot, from_lsn, to_lsn
from local.connectors.postgres.tables import Table, table_of
from local.connectors.postgres.types import PgType
from local.connectors.protocol import ConnectorError, Json, Output, Stream

WAIT_S, POLL_S = 600.0, 0.05


@dataclass
class Progress:
    """How far the log was read, and the streams whose snapshot is in the lake."""

    position: int
    streams: Sequence[Stream]
    done: set[str] = field(default_factory=set)

    def write(self, output: Output) -> None:
        """Write it as the state."""
        states = [(s.descriptor, {"snapshot": "complete"}) for s in self.streams if s.name in self.done]
        output.global_state({"lsn": from_lsn(self.position)}, states)


def check(connection: Connection) -> None:
    """Raise ConnectorError when the server or the user can't replicate."""
    (level,) = connection.execute("SHOW wal_level").fetchone() or ("",)
    if level != "logical":
        raise ConnectorError(
            f"wal_level is {level!r}, and logical replication needs `ALTER SYSTEM SET wal_level = logical` and a"
            " restart of PostgreSQL (a flag on hosted ones); or use replication_method Standard"
        )
    query = "SELECT rolreplication OR rolsuper OR pg_has_role(oid, (SELECT oid FROM pg_roles WHERE rolname = any"
    query += "('{rds_replication,cloudsqlsuperuser}') LIMIT 1), 'member') FROM pg_roles WHERE rolname = current_user"
    (allowed,) = connection.execute(query).fetchone() or (False,)
    if not allowed:
        raise ConnectorError("the user may not replicate: run `ALTER ROLE <user> REPLICATION` as an administrator")


def read(
    connection: Connection,
    config: Json,
    streams: Sequence[Stream],
    known: tuple[dict[str, Table], dict[int, PgType]],
    states: list[Json],
    output: Output,
) -> None:
    """Write snapshots of the streams that have none yet, then the changes until now."""
    check(connection)
    tables, types = known
    chosen = {stream.name: _replicable(table_of(tables, stream.name)) for stream in streams}
    before = next((s["global"] for s in states or [] if s.get("type") == "GLOBAL"), None)
    with connect(config) as log:
        slot = Slot(log, config.get("replication_method", {}), list(chosen.values()))
        position = slot.open(to_lsn(before["shared_state"]["lsn"]) if before else None)
        progress = Progress(position, streams, _complete(before, chosen))
        for stream in (s for s in streams if s.name not in progress.done):
            _snapshot(connection, stream, chosen[stream.name], output)
            progress.done.add(stream.name)
            progress.write(output)
        by_name = {stream.name: stream for stream in streams}
        for reached in read_changes(slot, connection, by_name, chosen, types, output):
            progress.position = reached
            progress.write(output)
    for stream in streams:
        output.status(stream, "COMPLETE")


def _replicable(table: Table) -> Table:
    if table.replicable:
        return table
    raise ConnectorError(
        f"stream {table.name}: its changes can't be read from the log, as it is a view, has no primary key, or another"
        " REPLICA IDENTITY than DEFAULT or FULL; declare it as `mode: overwrite`"
    )


def _complete(before: Json | None, chosen: Mapping[str, Table]) -> set[str]:
    states = (before or {}).get("stream_states") or []
    return {s["stream_descriptor"]["name"] for s in states} & set(chosen)


def _snapshot(connection: Connection, stream: Stream, table: Table, output: Output) -> None:
    position = _settled(connection)
    with snapshot(connection):
        for rows in copy_rows(connection, table):
            output.rows(stream, with_log(rows, [position], [datetime.now(UTC)], [None]))


def _settled(connection: Connection) -> int:
    """Return a position of the log, once all transactions that wrote before it have ended.

    Raises:
        ConnectorError: one is open for too long.
    """

    def ask(query: str) -> Any:
        (value,) = connection.execute(query).fetchone() or (None,)
        return value

    position = to_lsn(ask("SELECT pg_current_wal_insert_lsn()::text"))
    # A number of its own: the highest of a database snapshot is one above the last that ended, below some that run.
    own, deadline = int(ask("SELECT txid_current()")), time.monotonic() + WAIT_S
    while int(ask("SELECT txid_snapshot_xmin(txid_current_snapshot())")) < own:
        if time.monotonic() > deadline:
            raise ConnectorError(
                f"a transaction has been open for {WAIT_S:.0f} s, and a snapshot must wait for it; end it (see"
                " pg_stat_activity and pg_prepared_xacts)",
                "transient_error",
            )
        time.sleep(POLL_S)
    return position


def with_log(rows: pa.Table, positions: list[int], changed: list[datetime], deleted: list[datetime | None]) -> pa.Table:
    """Return rows with the columns of the log; one value stands for all rows."""
    number = rows.num_rows
    texts: list[list[str | None]] = [[at.isoformat() if at else None for at in times] for times in (changed, deleted)]
    values = (
        ("_ab_cdc_lsn", positions, pa.int64()),
        ("_ab_cdc_updated_at", texts[0], pa.string()),
        ("_ab_cdc_deleted_at", texts[1], pa.string()),
    )
    for name, column, kind in values:
        array = pa.repeat(pa.scalar(column[0], kind), number) if len(column) == 1 else pa.array(column, kind)
        rows = rows.append_column(name, array)
    return rows
