"""Sources, destinations, connections, jobs and stream states in one SQLite file."""

import json
import sqlite3
import threading
import time
import uuid
from pathlib import Path
from typing import Any

Json = dict[str, Any]
SCHEMA = """
CREATE TABLE IF NOT EXISTS items (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS states (connection TEXT, stream TEXT, body TEXT NOT NULL, PRIMARY KEY (connection, stream));
CREATE TABLE IF NOT EXISTS generations (connection TEXT, stream TEXT, number INTEGER, PRIMARY KEY (connection, stream));
"""
SERVER_ENDED = "the Airbyte server ended during the sync"
TERMINAL = ("succeeded", "failed", "cancelled")


class Store:
    """All state of the server; one process owns it, its threads share it."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(SCHEMA)
        for job in self.jobs():
            if job["status"] not in TERMINAL:
                self.change_job(job["jobId"], status="failed", failureReason=SERVER_ENDED)

    def items(self, kind: str) -> list[Json]:
        """All items of a kind."""
        with self._lock:
            rows = self._db.execute("SELECT body FROM items WHERE kind = ? ORDER BY rowid", (kind,)).fetchall()
        return [json.loads(body) for (body,) in rows]

    def item(self, kind: str, item_id: str) -> Json | None:
        """One item."""
        with self._lock:
            row = self._db.execute("SELECT body FROM items WHERE kind = ? AND id = ?", (kind, item_id)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, kind: str, item_id: str, body: Json) -> Json:
        """Write an item."""
        with self._lock:
            self._db.execute("REPLACE INTO items VALUES (?, ?, ?)", (kind, item_id, json.dumps(body)))
        return body

    def drop(self, kind: str, item_id: str) -> None:
        """Delete an item."""
        with self._lock:
            self._db.execute("DELETE FROM items WHERE kind = ? AND id = ?", (kind, item_id))

    def add_job(self, connection: str) -> Json | None:
        """Make a running job; None when the connection has one."""
        with self._lock:
            if any(j["status"] not in TERMINAL for j in self.jobs(connection)):
                return None
            number = self._db.execute("INSERT INTO jobs (connection, body) VALUES (?, '{}')", (connection,)).lastrowid
            body = {
                "jobId": number,
                "status": "running",
                "jobType": "sync",
                "connectionId": connection,
                "startTime": now(),
                "lastUpdatedAt": now(),
                "createdAt": now(),
                "duration": "PT0S",
                "rowsSynced": 0,
                "bytesSynced": 0,
            }
            self._db.execute("UPDATE jobs SET body = ? WHERE id = ?", (json.dumps(body), number))
        return body

    def job(self, number: int) -> Json | None:
        """One job."""
        with self._lock:
            row = self._db.execute("SELECT body FROM jobs WHERE id = ?", (number,)).fetchone()
        return json.loads(row[0]) if row else None

    def jobs(self, connection: str = "") -> list[Json]:
        """Jobs, newest first."""
        with self._lock:
            where, values = ("WHERE connection = ?", (connection,)) if connection else ("", ())
            rows = self._db.execute(f"SELECT body FROM jobs {where} ORDER BY id DESC", values).fetchall()
        return [json.loads(body) for (body,) in rows]

    def change_job(self, number: int, **changes: Any) -> Json:
        """Change a job's fields; returns it."""
        with self._lock:
            body = (self.job(number) or {}) | changes | {"lastUpdatedAt": now()}
            self._db.execute("UPDATE jobs SET body = ? WHERE id = ?", (json.dumps(body), number))
        return body

    def states(self, connection: str) -> dict[str, Json]:
        """Newest STATE body of each stream."""
        with self._lock:
            query = "SELECT stream, body FROM states WHERE connection = ?"
            return {stream: json.loads(body) for stream, body in self._db.execute(query, (connection,))}

    def put_state(self, connection: str, stream: str, body: Json) -> None:
        """Store a STATE of a stream, or of all (''), which replaces theirs, once its rows are in the lake."""
        with self._lock:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM states WHERE connection = ? AND '' IN (stream, ?)", (connection, stream))
            self._db.execute("REPLACE INTO states VALUES (?, ?, ?)", (connection, stream, json.dumps(body)))
            self._db.execute("COMMIT")

    def drop_state(self, connection: str, stream: str) -> None:
        """Forget how far a stream was read."""
        with self._lock:
            self._db.execute("DELETE FROM states WHERE connection = ? AND stream = ?", (connection, stream))

    def next_generation(self, connection: str, stream: str) -> int:
        """Number of a new generation of a stream that is read in full, from 1."""
        with self._lock:
            query = (
                "INSERT INTO generations VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET number = number + 1"
                " RETURNING number"
            )
            return int(self._db.execute(query, (connection, stream)).fetchall()[0][0])


def now() -> str:
    """Return the current time in the API's format."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def new_id() -> str:
    """An id for an item."""
    return str(uuid.uuid4())
