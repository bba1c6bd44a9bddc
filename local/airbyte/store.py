"""What the server remembers: sources, destinations, connections, jobs, stream states. One SQLite file."""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ACTIVE = ("pending", "running")
ORPHANED = "the server ended while this job ran; start another, it goes on from the last checkpoint"

SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
  kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, position INTEGER PRIMARY KEY AUTOINCREMENT,
  UNIQUE (kind, id));
CREATE TABLE IF NOT EXISTS jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, connection_id TEXT NOT NULL, job_type TEXT NOT NULL, status TEXT NOT NULL,
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL, rows INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX IF NOT EXISTS one_active_job ON jobs (connection_id) WHERE status IN ('pending', 'running');
CREATE TABLE IF NOT EXISTS states (
  connection_id TEXT NOT NULL, stream TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (connection_id, stream));
CREATE TABLE IF NOT EXISTS generations (
  connection_id TEXT NOT NULL, stream TEXT NOT NULL, generation INTEGER NOT NULL, PRIMARY KEY (connection_id, stream));
CREATE TABLE IF NOT EXISTS catalogs (source_id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, catalog TEXT NOT NULL);
"""
ORDERS = {"createdAt": "id", "updatedAt": "updated_at"}

Body = dict[str, Any]


class JobRuns(Exception):
    """A job of the connection is active already."""


class Store:
    """The server's memory; every call is its own transaction, from any thread."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._sql = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._sql.row_factory = sqlite3.Row
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.executescript(SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._sql.close()

    def put(self, kind: str, item_id: str, body: Body) -> None:
        """Write an item, new or not."""
        self._run(
            "INSERT INTO items (kind, id, body) VALUES (?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, item_id, json.dumps(body)),
        )

    def get(self, kind: str, item_id: str) -> Body | None:
        """An item, or None."""
        rows = self._run("SELECT body FROM items WHERE kind = ? AND id = ?", (kind, item_id))
        return dict(json.loads(rows[0]["body"])) if rows else None

    def all(self, kind: str) -> list[Body]:
        """Items of a kind, oldest first."""
        rows = self._run("SELECT body FROM items WHERE kind = ? ORDER BY position", (kind,))
        return [json.loads(row["body"]) for row in rows]

    def delete(self, kind: str, item_id: str) -> None:
        """Forget an item, and what was kept on its account."""
        with self._transaction():
            self._run("DELETE FROM items WHERE kind = ? AND id = ?", (kind, item_id))
            self._run("DELETE FROM states WHERE connection_id = ?", (item_id,))
            self._run("DELETE FROM catalogs WHERE source_id = ?", (item_id,))

    def add_job(self, connection_id: str, job_type: str) -> int:
        """A new pending job.

        Raises:
            JobRuns: one of the connection is active.
        """
        now = timestamp()
        try:
            with self._transaction():
                self._run(
                    "INSERT INTO jobs (connection_id, job_type, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
                    (connection_id, job_type, "pending", now, now),
                )
                return int(self._run("SELECT last_insert_rowid() AS id")[0]["id"])
        except sqlite3.IntegrityError:
            raise JobRuns(connection_id) from None

    def job(self, job_id: int) -> Body | None:
        """A job, or None."""
        rows = self._run("SELECT * FROM jobs WHERE id = ?", (job_id,))
        return dict(rows[0]) if rows else None

    def jobs(self, filters: list[tuple[str, str]], order: tuple[str, bool], limit: int, offset: int) -> list[Body]:
        """Jobs that meet conditions such as `("status = ?", "failed")`; `order` is a field and whether it descends."""
        where = " AND ".join(["1", *(condition for condition, _ in filters)])
        by = f"{ORDERS[order[0]]} {'DESC' if order[1] else 'ASC'}, id {'DESC' if order[1] else 'ASC'}"
        query = f"SELECT * FROM jobs WHERE {where} ORDER BY {by} LIMIT ? OFFSET ?"  # noqa: S608  our own conditions
        return [dict(row) for row in self._run(query, (*(value for _, value in filters), limit, offset))]

    def update_job(self, job_id: int, status: str, *, rows: int = 0, size: int = 0, error: str = "") -> None:
        """Write how a job stands."""
        self._run(
            "UPDATE jobs SET status = ?, rows = ?, bytes = ?, error = ?, updated_at = ? WHERE id = ?",
            (status, rows, size, error, timestamp(), job_id),
        )

    def fail_orphans(self) -> int:
        """Mark the jobs failed that a former server left behind; returns how many."""
        rows = self._run("SELECT id, rows, bytes FROM jobs WHERE status IN ('pending', 'running')")
        for row in rows:
            self.update_job(row["id"], "failed", rows=row["rows"], size=row["bytes"], error=ORPHANED)
        return len(rows)

    def states(self, connection_id: str) -> list[Body]:
        """State messages of a connection, as they go to the connector."""
        rows = self._run("SELECT message FROM states WHERE connection_id = ? ORDER BY stream", (connection_id,))
        return [json.loads(row["message"]) for row in rows]

    def save_states(self, connection_id: str, messages: dict[str, Body]) -> None:
        """Replace state messages, by stream ('' is the global one)."""
        with self._transaction():
            for stream, message in messages.items():
                self._run(
                    "INSERT OR REPLACE INTO states VALUES (?, ?, ?)", (connection_id, stream, json.dumps(message))
                )

    def drop_states(self, connection_id: str, streams: Iterable[str]) -> None:
        """Forget states, so that the streams are read from the start."""
        with self._transaction():
            for stream in streams:
                self._run("DELETE FROM states WHERE connection_id = ? AND stream = ?", (connection_id, stream))

    def drop_all_states(self, connection_id: str) -> None:
        """Forget every state of a connection."""
        self._run("DELETE FROM states WHERE connection_id = ?", (connection_id,))

    def generation(self, connection_id: str, stream: str, *, new: bool = False) -> int:
        """The stream's generation, 0 until it is first overwritten; `new` begins another."""
        with self._transaction():
            if new:
                self._run(
                    "INSERT INTO generations VALUES (?, ?, 1)"
                    " ON CONFLICT DO UPDATE SET generation = generation + 1", (connection_id, stream),
                )  # fmt: skip
            query = "SELECT generation FROM generations WHERE connection_id = ? AND stream = ?"
            rows = self._run(query, (connection_id, stream))
        return int(rows[0]["generation"]) if rows else 0

    def catalog(self, source_id: str, fingerprint: str) -> Body | None:
        """The discovered catalog, unless the source's configuration has changed since."""
        query = "SELECT catalog FROM catalogs WHERE source_id = ? AND fingerprint = ?"
        rows = self._run(query, (source_id, fingerprint))
        return dict(json.loads(rows[0]["catalog"])) if rows else None

    def save_catalog(self, source_id: str, fingerprint: str, catalog: Body) -> None:
        """Keep a discovered catalog."""
        self._run("INSERT OR REPLACE INTO catalogs VALUES (?, ?, ?)", (source_id, fingerprint, json.dumps(catalog)))

    def _run(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._sql.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._sql.execute("ROLLBACK")
                raise
            self._sql.execute("COMMIT")


def timestamp(moment: datetime | None = None) -> str:
    """An instant, by default now, as the API tells it; sorts as text."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
