"""A configuration in, a connection to its database out; the configuration is that of `airbyte/source-postgres`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from local.connectors.postgres.types import SETTINGS
from local.connectors.protocol import ConnectorError, Json
from millrace.airbyte.specifications import POSTGRES_METHODS

CONNECT_S = 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Connection = psycopg.Connection[tuple[Any, ...]]


def method(config: Json) -> str:
    """Return `Standard` or `CDC`."""
    named = str(config.get("replication_method", {}).get("method", POSTGRES_METHODS[0]))
    if named not in POSTGRES_METHODS:
        methods = " and ".join(POSTGRES_METHODS)
        raise ConnectorError(f"replication_method.method is {named!r}; this connector has {methods}")
    return named


def schemas(config: Json) -> list[str]:
    """Return the schemas that are read."""
    return list(config.get("schemas") or ["public"])


@contextmanager
def connect(config: Json) -> Iterator[Connection]:
    """Connect; each statement is a transaction of its own.

    Raises:
        ConnectorError: with the server's words.
    """
    mode = config.get("ssl_mode") or {}
    options = " ".join(f"-c {name}={_quoted(value)}" for name, value in SETTINGS.items() if name != "client_encoding")
    try:
        connection = psycopg.connect(
            make_conninfo(
                host=str(config["host"]),
                port=int(config.get("port", 5432)),
                dbname=str(config["database"]),
                user=str(config["username"]),
                password=str(config.get("password", "")),
                sslmode=str(mode.get("mode", "prefer")),
                application_name="millrace",
                client_encoding="UTF8",
                connect_timeout=CONNECT_S,
                options=options,
            ),
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        raise ConnectorError(f"{config['host']}:{config.get('port', 5432)}: {error}") from None
    try:
        yield connection
    finally:
        connection.close()


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Run statements on one snapshot of the database, read-only."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
