"""A PostgreSQL with logical replication and a source of its tables, for tests of the connector."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.postgres import OPTIONS, Postgres, postgres

LOGICAL = {"wal_level": "logical", "max_wal_senders": "4", "max_replication_slots": "20"}


@contextmanager
def logical_postgres() -> Iterator[Postgres]:
    """A running server whose log can be decoded."""
    before = dict(OPTIONS)
    OPTIONS.update(LOGICAL)
    try:
        with postgres() as server:
            yield server
    finally:
        OPTIONS.clear()
        OPTIONS.update(before)


def config(server: Postgres, *, cdc: bool = False, **options: Any) -> dict[str, Any]:
    """The connector's configuration."""
    method = {"replication_method": {"method": "CDC", **options}} if cdc else {}
    return {"host": "127.0.0.1", "port": server.port, "database": "postgres", "username": "prefect"} | method
