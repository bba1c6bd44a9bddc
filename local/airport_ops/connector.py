"""The demo's Airbyte source: `python -m local.airport_ops.connector spec|check|discover|read`.

Reads the operations database as change data capture; speaks the Airbyte protocol on stdout. Standard library only, so
that it starts fast.
"""

import argparse
import hmac
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from local.airport_ops import protocol
from local.airport_ops.protocol import ConnectorError
from local.airport_ops.reader import CHECKPOINT_ROWS, State, final_state, head, read
from local.airport_ops.tables import LSN, TABLES, hash_password

SPEC = {
    "documentationUrl": "https://docs.airbyte.com/understanding-airbyte/airbyte-protocol",
    "connectionSpecification": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Airport operations",
        "type": "object",
        "required": ["database", "username", "password"],
        "additionalProperties": True,
        "properties": {
            "database": {
                "type": "string",
                "description": "Path of the database, or a name whose path is in the variable <NAME>_DATABASE.",
            },
            "username": {"type": "string"},
            "password": {"type": "string", "airbyte_secret": True},
        },
    },
}


def main() -> int:
    """Do one command of the protocol."""
    arguments = _parser().parse_args()
    stream: list[str] = []  # the stream under way, for the error's sake
    try:
        if arguments.command == "spec":
            protocol.emit({"type": "SPEC", "spec": SPEC})
            return 0
        config = _load(arguments.config, "configuration")
        if arguments.command == "check":
            return _check(config)
        if arguments.command == "discover":
            with _opened(config):
                protocol.emit({"type": "CATALOG", "catalog": catalog()})
            return 0
        state = _states(_load(arguments.state, "state")) if arguments.state else {}
        _read(config, _load(arguments.catalog, "catalog"), state, stream)
    except ConnectorError as failure:
        return _fail(failure, stream)
    except sqlite3.Error as failure:
        return _fail(ConnectorError(f"the database refused: {failure}", "system_error"), stream)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the platform has gone; say no more
        return 1
    return 0


def catalog() -> dict[str, Any]:
    """What the source offers."""
    return {
        "streams": [
            {
                "name": table.name,
                "json_schema": table.json_schema(),
                "supported_sync_modes": ["full_refresh", "incremental"],
                "source_defined_cursor": True,
                "default_cursor_field": [LSN],
                "source_defined_primary_key": [[column] for column in table.key],
                "is_resumable": True,
            }
            for table in TABLES.values()
        ]
    }


def _read(config: dict[str, Any], wanted: dict[str, Any], states: dict[str, State], stream: list[str]) -> None:
    with _opened(config) as connection:
        connection.execute("BEGIN")  # every stream is read as of the same moment
        newest = head(connection)
        for configured in wanted.get("streams", []):
            name = configured["stream"]["name"]
            stream[:] = [name]
            if name not in TABLES:
                raise ConnectorError(f"there is no stream {name}; choose among {', '.join(TABLES)}")
            state = states.get(name) if configured.get("sync_mode") == "incremental" else None
            _read_stream(connection, name, state, newest)


def _read_stream(connection: sqlite3.Connection, name: str, state: State | None, newest: int) -> None:
    protocol.stream_status(name, "STARTED")
    rows = 0
    for item in read(connection, TABLES[name], state, newest):
        if rows == 0:
            protocol.stream_status(name, "RUNNING")
        protocol.record(name, item.data)
        rows += 1
        if rows % CHECKPOINT_ROWS == 0:
            protocol.state(name, item.state)
    protocol.state(name, final_state(newest))
    protocol.log(f"{name}: {rows} records up to position {newest}")
    protocol.stream_status(name, "COMPLETE")
    protocol.flush()


def _check(config: dict[str, Any]) -> int:
    try:
        with _opened(config):
            outcome = {"status": "SUCCEEDED"}
    except ConnectorError as failure:
        outcome = {"status": "FAILED", "message": str(failure)}
    protocol.emit({"type": "CONNECTION_STATUS", "connectionStatus": outcome})
    return 0


def _fail(failure: ConnectorError, stream: list[str]) -> int:
    name = stream[0] if stream else None
    if name:
        protocol.stream_status(name, "INCOMPLETE")
    protocol.error(failure, name)
    return 1


@contextmanager
def _opened(config: dict[str, Any]) -> Iterator[sqlite3.Connection]:
    database = database_path(str(config.get("database", "")))
    if not database.is_file():
        raise ConnectorError(f"there is no database at {database}; correct `database` in the source's configuration")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None, timeout=30)) as connection:
        _authenticate(connection, str(config.get("username", "")), str(config.get("password", "")))
        yield connection


def database_path(name: str) -> Path:
    """A path as it is; for a bare name what the variable `<NAME>_DATABASE` says, as a service name is resolved."""
    if "/" not in name and (path := os.environ.get(f"{name.upper()}_DATABASE")):
        return Path(path)
    return Path(name)


def _authenticate(connection: sqlite3.Connection, username: str, password: str) -> None:
    try:
        row = connection.execute("SELECT salt, hash FROM _users WHERE username = ?", (username,)).fetchone()
    except sqlite3.Error as error:
        raise ConnectorError(f"that is no operations database: {error}") from None
    salt, expected = row or (b"", b"")
    given = hash_password(password, salt)
    if not hmac.compare_digest(given, expected):
        raise ConnectorError(f"the database refused user {username!r}: wrong user name or password")


def _states(messages: Any) -> dict[str, State]:
    """State by stream, out of the list of state messages that Airbyte passes."""
    found = {}
    for message in messages if isinstance(messages, list) else []:
        stream = message.get("stream") or {}
        if stream.get("stream_state"):
            found[stream["stream_descriptor"]["name"]] = stream["stream_state"]
    return found


def _load(file: Path, what: str) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConnectorError(f"the {what} in {file} can't be read: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.airport_ops.connector", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("spec")
    for name in ("check", "discover", "read"):
        command = commands.add_parser(name)
        command.add_argument("--config", type=Path, required=True)
        if name == "read":
            command.add_argument("--catalog", type=Path, required=True)
            command.add_argument("--state", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
