"""An Airbyte-protocol source over the operations database: `spec`, `check`, `discover`, `read`; standard library only.

The first read of a stream is a snapshot, whose rows share the log's head position; then it reads the change log: one
record per logged change. A delete carries only the key.
"""

import argparse
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hmac import compare_digest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from local.demo.airport_ops.replay import hash_password
from local.demo.airport_ops.schema import TABLES, columns

CHECKPOINT = 5_000
LOCKED_S = 120.0  # how long it waits while another holds the database
JSON_TYPES = {
    "TEXT": {"type": ["null", "string"]},
    "INTEGER": {"type": ["null", "integer"]},
    "REAL": {"type": ["null", "number"]},
    "DATE": {"type": ["null", "string"], "format": "date"},
    "TIMESTAMP": {"type": ["null", "string"], "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
}
CDC = {
    "_ab_cdc_lsn": {"type": ["null", "integer"]},
    "_ab_cdc_updated_at": {"type": ["null", "string"]},
    "_ab_cdc_deleted_at": {"type": ["null", "string"]},
}
SPEC: dict[str, Any] = {
    "connectionSpecification": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["database", "username", "password"],
        "properties": {
            "database": {"type": "string"},
            "username": {"type": "string"},
            "password": {"type": "string", "airbyte_secret": True},
        },
    }
}


class ConnectorError(Exception):
    """A failure with Airbyte's `failure_type`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def emit(kind: str, **body: Any) -> None:
    """One protocol message to stdout."""
    sys.stdout.write(json.dumps({"type": kind, **body}) + "\n")


def connect(config: dict[str, Any]) -> sqlite3.Connection:
    """Open the database for reading, with a user's password.

    Raises:
        ConnectorError: no such database, user or password.
    """
    if missing := [name for name in SPEC["connectionSpecification"]["required"] if not config.get(name)]:
        raise ConnectorError("config_error", f"the configuration lacks {', '.join(missing)}")
    named = os.environ.get("AIRPORT_OPS_DATABASE", "") if config["database"] == "airport_ops" else ""
    path = Path(named or config["database"])
    if not path.is_file():
        raise ConnectorError("config_error", f"database {path} does not exist")
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=LOCKED_S)
    user = db.execute("SELECT salt, hash FROM _users WHERE username = ?", (config["username"],)).fetchone()
    if user is None or not compare_digest(hash_password(str(config["password"]), user[0]), user[1]):
        raise ConnectorError("config_error", f"password authentication failed for user {config['username']!r}")
    return db


def discover() -> dict[str, Any]:
    """The catalog."""
    streams = []
    for name, (key, _) in TABLES.items():
        properties = {column: JSON_TYPES[kind] for column, kind in columns(name).items()} | CDC
        streams.append(
            {
                "name": name,
                "namespace": "airport_ops",
                "supported_sync_modes": ["full_refresh", "incremental"],
                "json_schema": {"type": "object", "properties": properties},
                "source_defined_cursor": True,
                "default_cursor_field": ["_ab_cdc_lsn"],
                "source_defined_primary_key": [[k] for k in key],
            }
        )
    return {"streams": streams}


def read(db: sqlite3.Connection, catalog: dict[str, Any], states: dict[str, int]) -> None:
    """Emit the new records of every stream since its state, from one snapshot of the database."""
    db.execute("BEGIN")
    (head,) = db.execute("SELECT coalesce(max(lsn), 0) FROM _changes").fetchone()
    for configured in catalog["streams"]:
        stream = configured["stream"]["name"]
        if stream not in TABLES:
            raise ConnectorError("config_error", f"stream {stream} does not exist; the streams are {', '.join(TABLES)}")
        fresh = configured.get("sync_mode") == "full_refresh"
        _status(stream, "STARTED")
        position = None if fresh else states.get(stream)
        if position is not None and position > head:
            raise ConnectorError(
                "config_error",
                f"stream {stream} was read up to log position {position}, but the log ends at {head}: the database was"
                " created again or restored. Create the connection again",
            )
        rows = _snapshot(db, stream, head) if position is None else _log(db, stream, position, head)
        for count, (lsn, data) in enumerate(rows, 1):
            if count == 1:
                _status(stream, "RUNNING")
            emit("RECORD", record={"stream": stream, "namespace": "airport_ops", "data": data, "emitted_at": _now_ms()})
            if position is not None and count % CHECKPOINT == 0:
                _state(stream, lsn)
        _state(stream, head)
        _status(stream, "COMPLETE")


def _snapshot(db: sqlite3.Connection, stream: str, head: int) -> Iterator[tuple[int, dict[str, Any]]]:
    names = list(columns(stream))
    try:
        rows = db.execute(f"SELECT {', '.join(names)} FROM {stream}")
    except sqlite3.OperationalError as error:
        raise ConnectorError("system_error", f"stream {stream}: {error}") from None
    for row in rows:
        data = dict(zip(names, row, strict=True))
        cdc = {"_ab_cdc_lsn": head, "_ab_cdc_updated_at": data["updated_at"], "_ab_cdc_deleted_at": None}
        yield head, data | cdc


def _log(db: sqlite3.Connection, stream: str, position: int, head: int) -> Iterator[tuple[int, dict[str, Any]]]:
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (stream,)).fetchone():
        raise ConnectorError("system_error", f"stream {stream}: no such table: {stream}")
    query = "SELECT lsn, op, row, changed_at FROM _changes WHERE table_name = ? AND lsn > ? AND lsn <= ? ORDER BY lsn"
    for lsn, op, row, changed_at in db.execute(query, (stream, position, head)):
        deleted = changed_at if op == "DELETE" else None
        yield (
            lsn,
            json.loads(row)
            | {
                "_ab_cdc_lsn": lsn,
                "_ab_cdc_updated_at": changed_at,
                "_ab_cdc_deleted_at": deleted,
            },
        )


def _state(stream: str, lsn: int) -> None:
    descriptor = {"name": stream, "namespace": "airport_ops"}
    body = {"stream_descriptor": descriptor, "stream_state": {"lsn": lsn}}
    emit("STATE", state={"type": "STREAM", "stream": body})


def _status(stream: str, status: str) -> None:
    descriptor = {"name": stream, "namespace": "airport_ops"}
    trace = {"stream_descriptor": descriptor, "status": status}
    emit("TRACE", trace={"type": "STREAM_STATUS", "emitted_at": _now_ms(), "stream_status": trace})


def _now_ms() -> int:
    return int(time.time() * 1000)


def parse_states(text: str) -> dict[str, int]:
    """Log position by stream, from a list of STATE bodies."""
    states = json.loads(text or "[]")
    return {
        s["stream"]["stream_descriptor"]["name"]: s["stream"]["stream_state"]["lsn"] for s in states if "stream" in s
    }


def main() -> int:
    """Answer one protocol command."""
    parser = argparse.ArgumentParser(prog="python -m local.demo.airport_ops.connector", description=__doc__)
    parser.add_argument("command", choices=["spec", "check", "discover", "read"])
    for option in ("--config", "--catalog", "--state"):
        parser.add_argument(option, type=Path)
    parsed = parser.parse_args()
    if parsed.command == "spec":
        emit("SPEC", spec=SPEC)
        return 0
    if parsed.config is None or (parsed.command == "read" and parsed.catalog is None):
        parser.error(f"{parsed.command} needs --config{' and --catalog' if parsed.command == 'read' else ''}")
    try:
        db = connect(json.loads(parsed.config.read_text()))
        if parsed.command == "check":
            emit("CONNECTION_STATUS", connectionStatus={"status": "SUCCEEDED"})
        elif parsed.command == "discover":
            emit("CATALOG", catalog=discover())
        else:
            states = parse_states(parsed.state.read_text()) if parsed.state else {}
            read(db, json.loads(parsed.catalog.read_text()), states)
    except (ConnectorError, sqlite3.Error) as error:
        if parsed.command == "check":
            emit("CONNECTION_STATUS", connectionStatus={"status": "FAILED", "message": str(error)})
            return 0
        body = {
            "message": str(error),
            "internal_message": str(error),
            "failure_type": getattr(error, "kind", "system_error"),
        }
        emit("TRACE", trace={"type": "ERROR", "emitted_at": datetime.now(UTC).timestamp() * 1000, "error": body})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
