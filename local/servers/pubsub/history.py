"""Delivers retained messages again: seeks and snapshots, and the deletion of expired messages."""

from collections.abc import Iterable

from google.protobuf.json_format import MessageToJson, Parse
from google.pubsub_v1.types import Snapshot

from local.servers.pubsub.filters import parse_filter
from local.servers.pubsub.store import Holder, MessagePb, Store, acked
from local.servers.rpc import Proto, RpcError

SnapshotPb: Proto = Snapshot.pb()
RETENTION_S = 7 * 86_400  # of a subscription that does not say
SNAPSHOT_S = 7 * 86_400  # it ends so long after its oldest message was published
SNAPSHOT_LEAST_S = 3_600
OF = "SELECT h.message FROM held h JOIN messages m ON m.id = h.message WHERE h.holder = ?"


class History:
    """The past of a store's subscriptions."""

    def __init__(self, store: Store) -> None:
        self._store, self._db = store, store.db

    def seek_to_time(self, subscription: Proto, at: float) -> None:
        """Acknowledge exactly the messages published before a time; the retained later ones are delivered again."""
        with self._store.transaction():
            for message in self._ids(f"{OF} AND m.published < ?", subscription.name, at):
                self._store.let_go(subscription, message)
            for holder in (acked(subscription.name), subscription.topic):
                self._readmit(subscription, self._ids(f"{OF} AND m.published >= ?", holder, at))
            self._order(subscription)

    def seek_to_snapshot(self, subscription: Proto, snapshot: Proto) -> None:
        """Set a subscription's messages to those of a snapshot."""
        if snapshot.topic != subscription.topic:
            raise RpcError(
                "FAILED_PRECONDITION",
                f"{snapshot.name} is of {snapshot.topic}, {subscription.name} of {subscription.topic}",
            )
        others = (
            "SELECT message FROM held WHERE holder = ? AND message NOT IN (SELECT message FROM held WHERE holder = ?)"
        )
        with self._store.transaction():
            for message in self._ids(others, subscription.name, snapshot.name):
                self._store.let_go(subscription, message)
            self._readmit(subscription, self._ids(others, snapshot.name, subscription.name))
            self._order(subscription)

    def _readmit(self, subscription: Proto, messages: Iterable[int]) -> None:
        passes = parse_filter(subscription.filter)
        holder = Holder(subscription.name, delivers=True, ordered=subscription.enable_message_ordering)
        for number in messages:
            (body,) = self._db.execute("SELECT body FROM messages WHERE id = ?", (number,)).fetchone()
            message = MessagePb.FromString(body)
            if passes(message.attributes):
                self._store.hold(holder, number, message.ordering_key)
            self._db.execute("DELETE FROM held WHERE holder = ? AND message = ?", (acked(holder.name), number))

    def _order(self, subscription: Proto) -> None:
        """Make the oldest message of each ordering key due, and let the others wait for it."""
        name, mine = subscription.name, "holder = ? AND ordering <> ''"
        self._db.execute(f"UPDATE held SET due = NULL, lease = 0 WHERE {mine}", (name,))
        oldest = f"SELECT min(message) FROM held WHERE {mine} GROUP BY ordering"
        row = (self._store.now(), name, name)
        self._db.execute(f"UPDATE held SET due = ? WHERE holder = ? AND message IN ({oldest})", row)

    def snapshots(self) -> dict[str, Proto]:
        """All snapshots by name."""
        rows = self._db.execute("SELECT name, body FROM snapshots ORDER BY name")
        return {name: Parse(body, SnapshotPb()) for name, body in rows}

    def take_snapshot(self, snapshot: Proto, subscription: Proto) -> Proto:
        """Copy a subscription's messages into a new snapshot; the broker adds those published from now on.

        Raises:
            RpcError: the name is taken, or the oldest message is so old that the snapshot would end within an hour.
        """
        now, name = self._store.now(), subscription.name
        query = "SELECT min(m.published) FROM held h JOIN messages m ON m.id = h.message WHERE h.holder = ?"
        (oldest,) = self._db.execute(query, (name,)).fetchone()
        ends = (oldest or now) + SNAPSHOT_S
        if ends < now + SNAPSHOT_LEAST_S:
            raise RpcError(
                "FAILED_PRECONDITION", f"a snapshot of {name} would end within an hour: its backlog is too old"
            )
        snapshot.topic = subscription.topic
        snapshot.expire_time.FromNanoseconds(int(ends * 1e9))
        with self._store.transaction():
            if not self.put_snapshot(snapshot, new=True):
                raise RpcError("ALREADY_EXISTS", f"Resource already exists in the project (resource={snapshot.name}).")
            copy = "INSERT INTO held SELECT ?, message, ordering, NULL, 0, 0 FROM held WHERE holder = ?"
            self._db.execute(copy, (snapshot.name, name))
        return snapshot

    def put_snapshot(self, snapshot: Proto, *, new: bool = False) -> bool:
        """Write a snapshot; a new one must not exist yet."""
        verb = "INSERT OR IGNORE" if new else "REPLACE"
        row = (snapshot.name, MessageToJson(snapshot))
        return self._db.execute(f"{verb} INTO snapshots VALUES (?, ?)", row).rowcount == 1

    def drop_snapshot(self, name: str) -> None:
        """Delete a snapshot and the messages that only it holds."""
        with self._store.transaction():
            self._db.execute("DELETE FROM snapshots WHERE name = ?", (name,))
            self._store.drop_holders(name)

    def expire(self, subscriptions: Iterable[Proto], topics: Iterable[Proto]) -> None:
        """Delete messages that no topic, subscription or snapshot has to retain any longer."""
        now = self._store.now()
        for snapshot in self.snapshots().values():
            if snapshot.expire_time.ToNanoseconds() / 1e9 < now:
                self.drop_snapshot(snapshot.name)
        for subscription in subscriptions:
            before = now - (subscription.message_retention_duration.ToNanoseconds() / 1e9 or RETENTION_S)
            for message in self._old(subscription.name, before):
                with self._store.transaction():
                    self._store.let_go(subscription, message)
            self._forget(acked(subscription.name), before)
        for topic in topics:
            self._forget(topic.name, now - topic.message_retention_duration.ToNanoseconds() / 1e9)

    def _forget(self, holder: str, before: float) -> None:
        for message in self._old(holder, before):
            with self._store.transaction():
                self._db.execute("DELETE FROM held WHERE holder = ? AND message = ?", (holder, message))
                self._store.drop_unheld(message)

    def _old(self, holder: str, before: float) -> list[int]:
        """Messages published before a time; ids grow with time, so the first younger one ends the search."""
        query = (
            "SELECT h.message, m.published FROM held h CROSS JOIN messages m ON m.id = h.message"
            " WHERE h.holder = ? ORDER BY h.message"
        )
        expired = []
        for message, published in self._db.execute(query, (holder,)):
            if published >= before:
                break
            expired.append(message)
        return expired

    def _ids(self, query: str, *values: object) -> list[int]:
        return [row[0] for row in self._db.execute(query, values)]
