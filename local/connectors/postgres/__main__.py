"""`python -m local.connectors.postgres spec | check | discover | read`."""

import sys
from collections.abc import Sequence

import psycopg

from local.connectors.postgres import replication
from local.connectors.postgres.read import read_from_cursor, read_full
from local.connectors.postgres.server import Connection, connect, method, schemas
from local.connectors.postgres.tables import Table, load_tables, stream_of, table_of
from local.connectors.protocol import Json, Output, Stream
from local.connectors.run import run
from millrace.airbyte.specifications import POSTGRES


class Postgres:
    """The connector."""

    specification = POSTGRES
    errors = (psycopg.Error,)

    def check(self, config: Json) -> None:
        """Connect, look for tables, and for what logical replication needs."""
        with connect(config) as connection:
            load_tables(connection, schemas(config))
            if method(config) == "CDC":
                replication.check(connection)

    def discover(self, config: Json) -> list[Json]:
        """Return the tables and views as streams."""
        cdc = method(config) == "CDC"
        with connect(config) as connection:
            tables, _ = load_tables(connection, schemas(config))
        return [stream_of(table, cdc=cdc) for table in tables.values()]

    def read(self, config: Json, streams: Sequence[Stream], states: list[Json], output: Output) -> None:
        """Write each stream in full, from its cursor on, or from the log."""
        with connect(config) as connection:
            tables, types = load_tables(connection, schemas(config))
            for stream in streams:
                table_of(tables, stream.name)
                output.status(stream, "STARTED")
            logged = [s for s in streams if s.incremental] if method(config) == "CDC" else []
            for stream in (s for s in streams if s not in logged):
                self._read_one(connection, stream, tables[stream.name], states, output)
                output.status(stream, "COMPLETE")
            if logged:
                replication.read(connection, config, logged, (tables, types), states, output)

    def _read_one(
        self, connection: Connection, stream: Stream, table: Table, states: list[Json], output: Output
    ) -> None:
        if not stream.incremental:
            return read_full(connection, stream, table, output)
        bodies = [s["stream"] for s in states or [] if s.get("type") == "STREAM"]
        own = [b.get("stream_state") for b in bodies if b["stream_descriptor"]["name"] == stream.name]
        return read_from_cursor(connection, stream, table, own[0] or {} if own else {}, output)


if __name__ == "__main__":
    sys.exit(run(Postgres()))
