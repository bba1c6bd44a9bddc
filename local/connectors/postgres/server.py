"""A configuration in, a connection to its database out; the configuration is that of `airbyte/source-postgres`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from local.connectors.postgres.types import SETTINGS
from local.connectors.protocol import ConnectorError, Json

CONNECT_S = 20
METHODS = ("Standard", "CDC")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SPECIFICATION: Json = {
    "required": ["host", "database", "username"],
    "properties": {
        "host": {"type": "string", "description": "Name or address of the server."},
        "port": {"type": "integer", "default": 5432},
        "database": {"type": "string"},
        "schemas": {"type": "array", "items": {"type": "string"}, "default": ["public"]},
        "username": {"type": "string"},
        "password": {"type": "string", "airbyte_secret": True},
        "ssl_mode": {
            "type": "object",
            "description": "`mode`: disable, allow, prefer, require, verify-ca or verify-full.",
            "properties": {
                "mode": {"type": "string", "default": "prefer"},
                "ca_certificate": {"type": "string", "airbyte_secret": True},
            },
        },
        "replication_method": {
            "type": "object",
            "description": "`method`: Standard (by a cursor column) or CDC (logical replication).",
            "properties": {
                "method": {"type": "string", "enum": list(METHODS), "default": "Standard"},
                "replication_slot": {"type": "string", "default": "millrace"},
                "publication": {"type": "string", "default": "millrace"},
            },
        },
    },
}

Connection = psycopg.Connection[tuple[Any, ...]]


def method(config: Json) -> str:
    """Return `Standard` or `CDC`."""
    named = str(config.get("replication_method", {}).get("method", METHODS[0]))
    if named not in METHODS:
        raise ConnectorError(f"replication_method.method is {named!r}; this connector has {' and '.join(METHODS)}")
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
