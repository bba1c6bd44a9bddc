"""Stores topics, subscriptions, messages and their holders in one SQLite file: answered calls survive a kill."""

import itertools
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import MessageToJson, Parse
from google.pubsub_v1.types import PubsubMessage, Subscription, Topic

from local.servers.pubsub.schema import FROM_1, OLD_TABLE, SCHEMA
from local.servers.rpc import Proto, RpcError
from local.servers.sqlite import open_database, transaction

MessagePb: Proto = PubsubMessage.pb()
SubscriptionPb: Proto = Subscription.pb()
TopicPb: Proto = Topic.pb()
DEFAULT_BACKOFF = (0.1, 600.0)
RESPONSE_BYTES = 8 << 20
ACK_ID = re.compile(r"([0-9]{1,18})-([0-8]?[0-9]{1,18})")  # both fit into SQLite's integers
ORPHANS = "NOT EXISTS (SELECT 1 FROM held WHERE message = messages.id)"
Clock = Callable[[], float]


@dataclass(frozen=True)
class Lease:
    """A message given out for a while; `attempt` counts from 1."""

    ack_id: str
    message: Proto
    attempt: int


@dataclass(frozen=True)
class Holder:
    """A subscription, topic or snapshot that keeps a message; only a subscription `delivers` it."""

    name: str
    delivers: bool = False
    ordered: bool = False


class Store:
    """The server's topics, subscriptions and messages in SQLite; one process owns the file."""

    def __init__(self, file: Path, clock: Clock = time.time) -> None:
        self.db = open_database(file, SCHEMA, OLD_TABLE, FROM_1)
        self.now = clock
        self._leases = itertools.count(time.time_ns())  # grows over restarts: an old ack id is never a new one

    def topics(self) -> dict[str, Proto]:
        """All topics by name."""
        rows = self.db.execute("SELECT name, body FROM topics ORDER BY name")
        return {name: Parse(body, TopicPb(name=name)) for name, body in rows}

    def put_topic(self, topic: Proto, *, new: bool) -> bool:
        """Write a topic; a new one must not exist yet."""
        verb = "INSERT OR IGNORE" if new else "REPLACE"
        return self.db.execute(f"{verb} INTO topics VALUES (?, ?)", (topic.name, MessageToJson(topic))).rowcount == 1

    def drop_topic(self, name: str) -> None:
        """Delete a topic and the messages that only it holds; its subscriptions keep theirs."""
        with self.transaction():
            self.db.execute("DELETE FROM topics WHERE name = ?", (name,))
            self.drop_holders(name)

    def subscriptions(self) -> dict[str, Proto]:
        """All subscriptions by name."""
        rows = self.db.execute("SELECT name, body FROM subscriptions ORDER BY name")
        return {name: Parse(body, SubscriptionPb()) for name, body in rows}

    def put_subscription(self, subscription: Proto, *, new: bool) -> bool:
        """Write a subscription; a new one must not exist yet."""
        verb = "INSERT OR IGNORE" if new else "REPLACE"
        row = (subscription.name, subscription.topic, MessageToJson(subscription))
        return self.db.execute(f"{verb} INTO subscriptions VALUES (?, ?, ?)", row).rowcount == 1

    def drop_subscription(self, name: str) -> None:
        """Delete a subscription and the messages that only it holds."""
        with self.transaction():
            self.db.execute("DELETE FROM subscriptions WHERE name = ?", (name,))
            self.drop_holders(name, acked(name))

    def empty_subscription(self, name: str) -> None:
        """Forget all messages of a subscription."""
        with self.transaction():
            self.drop_holders(name, acked(name))

    def drop_holders(self, *holders: str) -> None:
        """Delete the messages that only these holders have."""
        for holder in holders:
            self.db.execute("DELETE FROM held WHERE holder = ?", (holder,))
        self.db.execute(f"DELETE FROM messages WHERE {ORPHANS}")

    def publish(self, topic: str, messages: Iterable[Proto], holders: Sequence[Sequence[Holder]]) -> list[str]:
        """Keep messages, each for its holders, in one transaction; returns their ids."""
        ids, now = [], self.now()
        with self.transaction():
            for message, those in zip(messages, holders, strict=True):
                row = self.db.execute(
                    "INSERT INTO messages (topic, body, published) VALUES (?, ?, ?)", (topic, b"", now)
                ).lastrowid
                message.message_id = str(row)
                message.publish_time.FromNanoseconds(int(now * 1e9))
                ids.append(message.message_id)
                if not those:
                    self.db.execute("DELETE FROM messages WHERE id = ?", (row,))
                    continue
                self.db.execute("UPDATE messages SET body = ? WHERE id = ?", (message.SerializeToString(), row))
                for holder in those:
                    self.hold(holder, int(row or 0), message.ordering_key)
        return ids

    def hold(self, holder: Holder, message: int, ordering: str) -> None:
        """Let someone hold a message; it is due at once unless it waits for an older one of its ordering key."""
        key, due = ordering if holder.ordered else "", self.now() if holder.delivers else None
        older = "SELECT 1 FROM held WHERE holder = ? AND ordering = ? AND ordering <> ''"
        if key and due and self.db.execute(older, (holder.name, key)).fetchone():
            due = None
        row = (holder.name, message, key, due)
        self.db.execute("INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?, 0, 0)", row)

    def lease(self, subscription: Proto, count: int, seconds: float, most_bytes: int = RESPONSE_BYTES) -> list[Lease]:
        """Give out messages that are due, at least one of any size; of an ordering key only the oldest."""
        now, name, leases = self.now(), subscription.name, list[Lease]()
        due = (
            "SELECT h.message, h.attempts, h.lease, length(m.body)"
            " FROM held h CROSS JOIN messages m ON m.id = h.message"
            " WHERE h.holder = ? AND h.due <= ? ORDER BY h.due, h.message LIMIT ?"
        )
        with self.transaction():
            for message, attempts, lease, size in self.db.execute(due, (name, now, count)).fetchall():
                if lease and subscription.HasField("retry_policy"):  # its deadline passed
                    self._set_due(name, message, now + backoff(subscription, attempts))
                    continue
                if leases and size > most_bytes:
                    break
                most_bytes -= size
                leases.append(self._lease(name, message, attempts + 1, now + seconds))
        return leases

    def _lease(self, name: str, message: int, attempt: int, due: float) -> Lease:
        lease = next(self._leases)
        self.db.execute(
            "UPDATE held SET attempts = ?, due = ?, lease = ? WHERE holder = ? AND message = ?",
            (attempt, due, lease, name, message),
        )
        (body,) = self.db.execute("SELECT body FROM messages WHERE id = ?", (message,)).fetchone()
        return Lease(f"{message}-{lease}", MessagePb.FromString(body), attempt)

    def acknowledge(self, subscription: Proto, ack_ids: Iterable[str]) -> list[str]:
        """Acknowledge messages; return the invalid ack ids, which only exactly-once delivery reports."""
        invalid = []
        with self.transaction():
            for ack_id in ack_ids:
                message, lease = parse_ack_id(ack_id)
                if subscription.enable_exactly_once_delivery and not self._current(subscription.name, message, lease):
                    invalid.append(ack_id)
                else:
                    self.let_go(subscription, message)
        return invalid

    def let_go(self, subscription: Proto, message: int) -> None:
        """Hold a message no more, or only as an acknowledged one; the next of its ordering key becomes due."""
        name = subscription.name
        rows = self.db.execute("DELETE FROM held WHERE holder = ? AND message = ? RETURNING ordering", (name, message))
        row = rows.fetchone()
        if row is None:
            return
        if subscription.retain_acked_messages:
            self.db.execute("INSERT OR IGNORE INTO held VALUES (?, ?, ?, NULL, 0, 0)", (acked(name), message, row[0]))
        else:
            self.drop_unheld(message)
        if row[0]:
            self.db.execute(
                "UPDATE held SET due = ? WHERE holder = ? AND due IS NULL AND message ="
                " (SELECT min(message) FROM held WHERE holder = ? AND ordering = ?)",
                (self.now(), name, name, row[0]),
            )

    def drop_unheld(self, message: int) -> None:
        """Delete a message unless someone holds it."""
        self.db.execute(f"DELETE FROM messages WHERE id = ? AND {ORPHANS}", (message,))

    def postpone(self, subscription: Proto, ack_id: str, seconds: float, *, leased: bool = False) -> bool:
        """Make a message due in so many seconds, given back unless still `leased`; False for an old ack id."""
        message, lease = parse_ack_id(ack_id)
        if not self._current(subscription.name, message, lease, late=not subscription.enable_exactly_once_delivery):
            return False
        self._set_due(subscription.name, message, self.now() + seconds, lease if leased else 0)
        return True

    def attempts(self, name: str, ack_id: str) -> int:
        """Return the number of deliveries of an ack id's message."""
        query = "SELECT attempts FROM held WHERE holder = ? AND message = ?"
        row = self.db.execute(query, (name, parse_ack_id(ack_id)[0])).fetchone()
        return int(row[0]) if row else 0

    def _current(self, name: str, message: int, lease: int, *, late: bool = False) -> bool:
        query = "SELECT due FROM held WHERE holder = ? AND message = ? AND lease = ?"
        row = self.db.execute(query, (name, message, lease)).fetchone()
        return row is not None and row[0] is not None and (late or row[0] > self.now())

    def _set_due(self, name: str, message: int, due: float, lease: int = 0) -> None:
        row = (due, lease, name, message)
        self.db.execute("UPDATE held SET due = ?, lease = ? WHERE holder = ? AND message = ?", row)

    def release(self, name: str) -> None:
        """Make all messages of a subscription due that wait for no other."""
        self.db.execute("UPDATE held SET due = ?, lease = 0 WHERE holder = ? AND due IS NOT NULL", (self.now(), name))

    def next_due(self, name: str) -> float | None:
        """Seconds until the next message is due; None when none waits."""
        query = "SELECT min(due) FROM held WHERE holder = ? AND due IS NOT NULL"
        (due,) = self.db.execute(query, (name,)).fetchone()
        return None if due is None else max(0.0, due - self.now())

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing."""
        return transaction(self.db)


def acked(name: str) -> str:
    """Return the name of the holder of a subscription's acknowledged messages."""
    return f"{name}#acked"


def parse_ack_id(ack_id: str) -> tuple[int, int]:
    """Return message and lease of an ack id. Raises RpcError for an invalid one."""
    match = ACK_ID.fullmatch(ack_id)
    if not match:
        raise RpcError("INVALID_ARGUMENT", f"Invalid ack id (ack_id={ack_id})")
    return int(match[1]), int(match[2])


def backoff(subscription: Proto, attempt: int) -> float:
    """Seconds before the next attempt after a failed one, growing from the policy's minimum to its maximum."""
    policy = subscription.retry_policy
    least = policy.minimum_backoff.ToNanoseconds() / 1e9 if policy.HasField("minimum_backoff") else DEFAULT_BACKOFF[0]
    most = policy.maximum_backoff.ToNanoseconds() / 1e9 if policy.HasField("maximum_backoff") else DEFAULT_BACKOFF[1]
    return float(min(most, least * 2 ** min(attempt - 1, 20)))
