"""A replication slot and its publication: made when they are missing, advanced, and read without being changed."""

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from local.connectors.postgres.read import copy_out
from local.connectors.postgres.server import Connection
from local.connectors.postgres.tables import Table
from local.connectors.protocol import ConnectorError

NAME = "millrace"
PEEK = """
COPY (SELECT lsn::text, data FROM pg_logical_slot_peek_binary_changes(
  {slot}, {until}::pg_lsn, NULL, 'proto_version', '1', 'publication_names', {publication}
)) TO STDOUT
"""


def to_lsn(text: str) -> int:
    """Return a position of the log as a number: 16/B374D848."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def from_lsn(position: int) -> str:
    """Return a position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


class Slot:
    """A slot with the plugin `pgoutput`, and a publication that has the tables."""

    def __init__(self, connection: Connection, options: Mapping[str, Any], tables: list[Table]) -> None:
        self.connection, self._tables = connection, tables
        self._name = str(options.get("replication_slot") or NAME)
        self._publication = str(options.get("publication") or NAME)

    def open(self, position: int | None) -> int:
        """Return the position from which changes come: that of the state, or of the slot without a state.

        Raises:
            ConnectorError: the slot has lost changes since the state, or can't be made.
        """
        self._publish()
        confirmed = self._confirmed()
        if position is None:
            return confirmed if confirmed is not None else self._create()
        again = (
            "the changes since then are lost. Delete the source in Airbyte and apply it again: its tables are then"
            " read in full, under a higher epoch"
        )
        if confirmed is None:
            raise ConnectorError(f"replication slot {self._name!r} is gone, last read at {from_lsn(position)}; {again}")
        if confirmed > position:
            raise ConnectorError(
                f"replication slot {self._name!r} is at {from_lsn(confirmed)}, beyond {from_lsn(position)} where the"
                f" last sync ended, so something else reads it; {again}"
            )
        if confirmed < position:
            self.connection.execute("SELECT pg_replication_slot_advance(%s, %s)", (self._name, from_lsn(position)))
        return position

    def read(self, until: int) -> Iterator[tuple[int, bytes]]:
        """Yield position and message of each change from the confirmed position on; the slot stays where it is."""
        query = sql.SQL(PEEK).format(
            slot=sql.Literal(self._name),
            until=sql.Literal(from_lsn(until)),
            publication=sql.Literal(self._publication),
        )
        for lines in copy_out(self.connection, query):
            for line in lines:
                position, _, data = line.rstrip(b"\n").partition(b"\t")
                yield to_lsn(position.decode()), bytes.fromhex(data[3:].decode())  # after a backslash twice and x

    def head(self) -> int:
        """Return the position up to which the log is on the server's disk."""
        (text,) = self.connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone() or ("0/0",)
        return to_lsn(str(text))

    def _confirmed(self) -> int | None:
        query = "SELECT confirmed_flush_lsn::text, plugin, database = current_database() FROM pg_replication_slots"
        row = self.connection.execute(query + " WHERE slot_name = %s", (self._name,)).fetchone()
        if row is None:
            return None
        if row[0] is None or row[1] != "pgoutput" or not row[2]:
            raise ConnectorError(
                f"replication slot {self._name!r} is of another database or plugin ({row[1]}); set"
                " replication_method.replication_slot to a name of its own"
            )
        return to_lsn(row[0])

    def _create(self) -> int:
        query = "SELECT lsn::text FROM pg_create_logical_replication_slot(%s, 'pgoutput')"
        (text,) = self.connection.execute(query, (self._name,)).fetchone() or ("0/0",)
        return to_lsn(str(text))

    def _publish(self) -> None:
        """Create the publication, or add tables that it lacks.

        Raises:
            ConnectorError: the user may not; the message has the statement for one who may.
        """
        statement = self._missing()
        if statement is None:
            return
        try:
            self.connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            text = statement.as_string(self.connection)
            raise ConnectorError(f"{error}; run as the tables' owner: {text}") from None

    def _missing(self) -> sql.Composed | None:
        name = sql.Identifier(self._publication)
        row = self.connection.execute(
            "SELECT puballtables FROM pg_publication WHERE pubname = %s", (self._publication,)
        ).fetchone()
        if row is None:
            every = sql.SQL(", ").join(table.sql for table in self._tables)
            return sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)").format(
                name, every
            )
        query = "SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = %s"
        existing = set(self.connection.execute(query, (self._publication,)).fetchall())
        lacking = [table.sql for table in self._tables if (table.schema, table.name) not in existing]
        if row[0] or not lacking:
            return None
        return sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(name, sql.SQL(", ").join(lacking))
