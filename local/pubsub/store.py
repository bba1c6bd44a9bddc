"""Topics, subscriptions, messages and their deliveries in one SQLite file: what was answered survives a kill."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import MessageToJson, Parse
from google.pubsub_v1.types import PubsubMessage, Subscription

from local.rpc import Proto

MessagePb: Proto = PubsubMessage.pb()
SubscriptionPb: Proto = Subscription.pb()
SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS subscriptions (name TEXT PRIMARY KEY, topic TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
  subscription TEXT NOT NULL, message INTEGER NOT NULL, attempts INTEGER NOT NULL, due REAL NOT NULL,
  ordering TEXT NOT NULL, PRIMARY KEY (subscription, message));
CREATE INDEX IF NOT EXISTS due ON deliveries (subscription, due);
"""
DEFAULT_BACKOFF = (0.1, 600.0)
OLDEST_OF_ITS_KEY = (
    "AND (d.ordering = '' OR NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.subscription = d.subscription"
    " AND o.ordering = d.ordering AND o.message < d.message))"
)


@dataclass(frozen=True)
class Lease:
    """A message given out for a while; `attempt` counts from 1."""

    ack_id: str
    message: Proto
    attempt: int


class Store:
    """All state of the server; one process owns it."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def topics(self) -> list[str]:
        """Names of all topics."""
        return [name for (name,) in self._db.execute("SELECT name FROM topics ORDER BY name")]

    def add_topic(self, name: str) -> bool:
        """Make a topic; False when it is there."""
        return self._db.execute("INSERT OR IGNORE INTO topics VALUES (?)", (name,)).rowcount == 1

    def drop_topic(self, name: str) -> bool:
        """Delete a topic; its subscriptions keep what they have."""
        return self._db.execute("DELETE FROM topics WHERE name = ?", (name,)).rowcount == 1

    def subscriptions(self) -> dict[str, Proto]:
        """All subscriptions by name."""
        rows = self._db.execute("SELECT name, body FROM subscriptions ORDER BY name")
        return {name: Parse(body, SubscriptionPb()) for name, body in rows}

    def put_subscription(self, subscription: Proto, *, new: bool) -> bool:
        """Write a subscription; a new one must not be there yet."""
        verb = "INSERT OR IGNORE" if new else "REPLACE"
        row = (subscription.name, subscription.topic, MessageToJson(subscription))
        return self._db.execute(f"{verb} INTO subscriptions VALUES (?, ?, ?)", row).rowcount == 1

    def drop_subscription(self, name: str) -> bool:
        """Delete a subscription and what only it holds."""
        with self._transaction():
            self._db.execute("DELETE FROM deliveries WHERE subscription = ?", (name,))
            self._db.execute("DELETE FROM messages WHERE id NOT IN (SELECT message FROM deliveries)")
            return self._db.execute("DELETE FROM subscriptions WHERE name = ?", (name,)).rowcount == 1

    def publish(self, topic: str, messages: Iterable[Proto], targets: dict[int, list[str]]) -> list[str]:
        """Keep messages and hand each to its subscriptions, in one transaction; returns their ids."""
        ids, now = [], time.time()
        with self._transaction():
            for position, message in enumerate(messages):
                row = self._db.execute("INSERT INTO messages (topic, body) VALUES (?, ?)", (topic, b"")).lastrowid
                message.message_id = str(row)
                message.publish_time.FromNanoseconds(int(now * 1e9))
                ids.append(message.message_id)
                if not targets[position]:
                    self._db.execute("DELETE FROM messages WHERE id = ?", (row,))
                    continue
                self._db.execute("UPDATE messages SET body = ? WHERE id = ?", (message.SerializeToString(), row))
                self._db.executemany(
                    "INSERT INTO deliveries VALUES (?, ?, 0, ?, ?)",
                    [(name, row, now, message.ordering_key) for name in targets[position]],
                )
        return ids

    def lease(self, subscription: Proto, count: int, seconds: float) -> list[Lease]:
        """Give out messages that are due; of an ordering key only the oldest."""
        now = time.time()
        query = (
            "SELECT d.message, d.attempts, m.body FROM deliveries d JOIN messages m ON m.id = d.message"
            f" WHERE d.subscription = ? AND d.due <= ? {_order(subscription)}"
            " ORDER BY d.message LIMIT ?"
        )
        leases = []
        with self._transaction():
            for row, attempts, body in self._db.execute(query, (subscription.name, now, count)).fetchall():
                self._db.execute(
                    "UPDATE deliveries SET attempts = ?, due = ? WHERE subscription = ? AND message = ?",
                    (attempts + 1, now + seconds, subscription.name, row),
                )
                leases.append(Lease(f"{row}-{attempts + 1}", MessagePb.FromString(body), attempts + 1))
        return leases

    def acknowledge(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Forget deliveries; a message that no subscription holds any more is deleted."""
        with self._transaction():
            for message in (ack_id.partition("-")[0] for ack_id in ack_ids):
                self._db.execute(
                    "DELETE FROM deliveries WHERE subscription = ? AND message = ?", (subscription, message)
                )
                self._db.execute(
                    "DELETE FROM messages WHERE id = ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = ?)",
                    (message, message),
                )

    def postpone(self, subscription: str, ack_id: str, seconds: float) -> None:
        """Make a delivery due again in so many seconds; an old ack id changes nothing."""
        message, _, attempt = ack_id.partition("-")
        self._db.execute(
            "UPDATE deliveries SET due = ? WHERE subscription = ? AND message = ? AND attempts = ?",
            (time.time() + seconds, subscription, message, attempt),
        )

    def release(self, subscription: str) -> None:
        """Make all deliveries due."""
        self._db.execute("UPDATE deliveries SET due = ? WHERE subscription = ?", (time.time(), subscription))

    def next_due(self, subscription: Proto) -> float | None:
        """Seconds until the next delivery is due; None when nothing waits."""
        query = f"SELECT min(due) FROM deliveries d WHERE subscription = ? {_order(subscription)}"
        (due,) = self._db.execute(query, (subscription.name,)).fetchone()
        return None if due is None else max(0.0, due - time.time())

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db)


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")


def _order(subscription: Proto) -> str:
    return OLDEST_OF_ITS_KEY if subscription.enable_message_ordering else ""


def backoff(subscription: Proto, attempt: int) -> float:
    """Seconds before the next attempt after a failed one, growing from the policy's minimum to its maximum."""
    policy = subscription.retry_policy
    least = policy.minimum_backoff.ToNanoseconds() / 1e9 if policy.HasField("minimum_backoff") else DEFAULT_BACKOFF[0]
    most = policy.maximum_backoff.ToNanoseconds() / 1e9 if policy.HasField("maximum_backoff") else DEFAULT_BACKOFF[1]
    return float(min(most, least * 2 ** min(attempt - 1, 20)))
