"""History in Pub/Sub: seeks, snapshots, retention, and state that survives a kill or an update of the server."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.api_core.exceptions import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import PubsubMessage, SeekRequest, Snapshot

from local.servers.pubsub.broker import Broker
from local.servers.pubsub.store import Store, SubscriptionPb, TopicPb
from tests.support.clients import PROJECT, PubSub, killable, unique, write_until_killed
from tests.support.servers import free_port, process, server, wait_until

pytest_plugins = ["tests.support.stand_ins", "tests.support.emulator"]
HOUR_S = 3600


@pytest.fixture
def pubsub(either_pubsub: PubSub) -> PubSub:
    """Run every test on the stand-in and, where installed, on Google's emulator."""
    return either_pubsub


def seek(pubsub: PubSub, subscription: str, to: float | str) -> None:
    target: dict[str, Any] = {"snapshot": to} if isinstance(to, str) else {"time": datetime.fromtimestamp(to, UTC)}
    pubsub.subscriber.seek(SeekRequest(subscription=subscription, **target))


def snapshot(pubsub: PubSub, subscription: str) -> str:
    name = f"projects/{PROJECT}/snapshots/{unique('snap')}"
    return str(pubsub.subscriber.create_snapshot(name=name, subscription=subscription).name)


def take_all(pubsub: PubSub, subscription: str, count: int) -> list[str]:
    """Acknowledge this many messages, and return their texts in order."""
    texts: list[str] = []

    def enough() -> bool:
        if received := pubsub.due(subscription):
            pubsub.ack(subscription, received)
        texts.extend(r.message.data.decode() for r in received)
        return len(texts) >= count

    wait_until(enough, f"{count} messages come", timeout_s=5)
    assert pubsub.due(subscription) == []
    return texts


def test_seek_back_redelivers_retained_messages(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    retaining, forgetting = pubsub.subscription(topic, retain_acked_messages=True), pubsub.subscription(topic)
    pubsub.publish(topic, "a", "b")
    take_all(pubsub, retaining, 2)
    take_all(pubsub, forgetting, 2)
    for subscription in (retaining, forgetting):
        seek(pubsub, subscription, time.time() - 60)
    assert sorted(take_all(pubsub, retaining, 2)) == ["a", "b"]
    assert pubsub.due(forgetting) == []
    seek(pubsub, retaining, time.time() - 60)
    assert sorted(take_all(pubsub, retaining, 2)) == ["a", "b"]


def test_seek_to_time_acknowledges_older_messages(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "old")
    time.sleep(0.05)  # the clocks' resolution, not a condition
    between = time.time()
    time.sleep(0.05)
    pubsub.publish(topic, "new")
    seek(pubsub, subscription, between)
    assert take_all(pubsub, subscription, 1) == ["new"]
    pubsub.publish(topic, "purged")
    seek(pubsub, subscription, time.time() + 60)
    assert pubsub.due(subscription) == []


@pytest.mark.differs("it retains nothing for a topic")
def test_new_subscription_gets_retained_messages(pubsub: PubSub) -> None:
    topic = f"projects/{PROJECT}/topics/{unique('topic')}"
    pubsub.publisher.create_topic(request={"name": topic, "message_retention_duration": Duration(seconds=600)})
    pubsub.publish(topic, "early", kind="a")
    pubsub.publish(topic, "other", kind="b")
    subscription = pubsub.subscription(topic, filter='attributes.kind = "a"')
    assert pubsub.due(subscription) == []
    seek(pubsub, subscription, time.time() - 60)
    assert take_all(pubsub, subscription, 1) == ["early"]


def test_seek_to_snapshot_restores_its_backlog(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "done")
    take_all(pubsub, subscription, 1)
    pubsub.publish(topic, "open")
    name = snapshot(pubsub, subscription)
    pubsub.publish(topic, "since")
    take_all(pubsub, subscription, 2)
    for _ in range(2):
        seek(pubsub, subscription, name)
        assert sorted(take_all(pubsub, subscription, 2)) == ["open", "since"]


@pytest.mark.differs("it seeks a snapshot only with the subscription that it was made of")
def test_snapshot_serves_sibling_subscriptions(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "open")
    name, other = snapshot(pubsub, subscription), pubsub.subscription(topic)
    seek(pubsub, other, name)
    assert take_all(pubsub, other, 1) == ["open"]


def test_seek_needs_a_target_of_its_own_topic(pubsub: PubSub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    name = snapshot(pubsub, pubsub.subscription(pubsub.topic()))
    with pytest.raises(FailedPrecondition):
        seek(pubsub, subscription, name)
    with pytest.raises(NotFound):
        seek(pubsub, subscription, f"{name}-none")
    with pytest.raises(InvalidArgument):
        pubsub.subscriber.seek(SeekRequest(subscription=subscription))
    with pytest.raises(NotFound):
        seek(pubsub, f"{subscription}-none", time.time())


def test_snapshot_is_created_listed_and_deleted(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    name = snapshot(pubsub, subscription)
    snapshot_read = pubsub.subscriber.get_snapshot(snapshot=name)
    assert snapshot_read.topic == topic
    assert 6 < (snapshot_read.expire_time.timestamp() - time.time()) / 86_400 <= 7
    assert name in [s.name for s in pubsub.subscriber.list_snapshots(project=f"projects/{PROJECT}")]
    assert list(pubsub.publisher.list_topic_snapshots(topic=topic)) == [name]
    with pytest.raises(AlreadyExists):
        pubsub.subscriber.create_snapshot(name=name, subscription=subscription)
    pubsub.subscriber.delete_snapshot(snapshot=name)
    for call in (pubsub.subscriber.get_snapshot, pubsub.subscriber.delete_snapshot):
        with pytest.raises(NotFound):
            call(snapshot=name)


@pytest.mark.differs("it can't update a snapshot")
def test_snapshot_takes_labels(pubsub: PubSub) -> None:
    name = snapshot(pubsub, pubsub.subscription(pubsub.topic()))
    labelled = Snapshot(name=name, labels={"why": "deploy"})
    pubsub.subscriber.update_snapshot(snapshot=labelled, update_mask=FieldMask(paths=["labels"]))
    assert dict(pubsub.subscriber.get_snapshot(snapshot=name).labels) == {"why": "deploy"}


@pytest.mark.differs("it can't seek a subscription with ordering")
def test_seek_keeps_the_order_of_a_key(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True, retain_acked_messages=True)
    messages = [PubsubMessage(data=str(n).encode(), ordering_key="k") for n in range(4)]
    pubsub.publisher.publish(topic=topic, messages=messages)
    before = take_all(pubsub, subscription, 4)
    seek(pubsub, subscription, time.time() - 60)
    assert take_all(pubsub, subscription, 4) == before == ["0", "1", "2", "3"]


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[tuple[Broker, list[float]]]:
    """Return a broker without its server, and the clock that it uses."""
    clock = [time.time()]
    store = Store(tmp_path / "pubsub.sqlite", lambda: clock[0])
    yield Broker(store), clock
    store.close()


def test_expired_messages_leave_no_trace(clocked: tuple[Broker, list[float]]) -> None:
    broker, clock = clocked
    topic, settings = TopicPb(name="projects/p/topics/tt"), {"topic": "projects/p/topics/tt"}
    topic.message_retention_duration.FromSeconds(3 * HOUR_S)
    retaining = SubscriptionPb(name="projects/p/subscriptions/kept", retain_acked_messages=True, **settings)
    idle = SubscriptionPb(name="projects/p/subscriptions/idle", enable_message_ordering=True, **settings)
    retaining.message_retention_duration.FromSeconds(HOUR_S)
    idle.message_retention_duration.FromSeconds(2 * HOUR_S)
    broker.topics[topic.name] = topic
    for subscription in (retaining, idle):
        broker.subscriptions[subscription.name] = subscription
    for text in (b"first", b"second"):
        broker.publish(topic.name, [PubsubMessage.pb()(data=text, ordering_key="k")])
        clock[0] += 0.5 * HOUR_S
    broker.acknowledge(retaining, [lease.ack_id for lease in broker.take(retaining, 10)])

    def counted() -> tuple[int, int]:
        broker.history.expire([retaining, idle], [topic])
        broker.history.seek_to_time(retaining, 0)
        again = broker.take(retaining, 10)
        broker.acknowledge(retaining, [lease.ack_id for lease in again])
        (messages,) = broker.store.db.execute("SELECT count(*) FROM messages").fetchone()
        return len(again), messages

    topic.ClearField("message_retention_duration")
    assert counted() == (2, 2)
    clock[0] += 0.2 * HOUR_S
    assert counted() == (1, 2)
    clock[0] += HOUR_S
    assert counted() == (0, 1)  # `idle` still holds the second
    assert [lease.message.data for lease in broker.take(idle, 10)] == [b"second"]
    clock[0] += HOUR_S
    assert counted() == (0, 0)


def test_snapshot_expires_and_needs_time_left(
    clocked: tuple[Broker, list[float]],
) -> None:
    broker, clock = clocked
    topic = TopicPb(name="projects/p/topics/tt")
    subscription = SubscriptionPb(name="projects/p/subscriptions/sub", topic=topic.name)
    broker.topics[topic.name], broker.subscriptions[subscription.name] = topic, subscription
    broker.publish(topic.name, [PubsubMessage.pb()(data=b"x")])
    broker.history.take_snapshot(Snapshot.pb()(name="projects/p/snapshots/one"), subscription)
    clock[0] += 167.5 * HOUR_S
    with pytest.raises(Exception, match="within an hour"):
        broker.history.take_snapshot(Snapshot.pb()(name="projects/p/snapshots/two"), subscription)
    assert list(broker.history.snapshots()) == ["projects/p/snapshots/one"]
    clock[0] += HOUR_S
    broker.history.expire([subscription], [topic])
    assert broker.history.snapshots() == {}
    assert broker.store.db.execute("SELECT count(*) FROM held").fetchone() == (0,)


@pytest.mark.slow
def test_kill_keeps_acks_and_published_messages(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    attempted, acknowledged = set[str](), set[str]()
    with killable("pubsub", state, port=port) as (_, kill), ThreadPoolExecutor(1) as pool:
        pubsub = PubSub(port)
        topic = pubsub.topic()
        settings = {"ack_deadline_seconds": 10, "retain_acked_messages": True}
        subscription = pubsub.subscription(topic, **settings)
        name = snapshot(pubsub, subscription)

        def write(thread: int, number: int) -> str:
            pubsub.publish(topic, text := f"{thread}-{number}")
            return text

        def read() -> None:
            while True:
                try:
                    received = pubsub.subscriber.pull(subscription=subscription, max_messages=9, retry=None, timeout=5)
                    ids = [r.ack_id for r in received.received_messages]
                    attempted.update(r.message.data.decode() for r in received.received_messages)
                    pubsub.subscriber.acknowledge(subscription=subscription, ack_ids=ids, retry=None, timeout=5)
                except Exception:  # the client raises various errors when the server is gone
                    return
                acknowledged.update(r.message.data.decode() for r in received.received_messages)

        reading = pool.submit(read)
        published = set(write_until_killed(write, kill, least=200))
        reading.result(20)
    assert len(acknowledged) > 20
    with server("pubsub", state, port=port):
        pubsub = PubSub(port)
        left = pubsub.drain(subscription, until=lambda texts: texts | attempted >= published)
        assert left & acknowledged == set()
        assert len(attempted - acknowledged - left) <= 9  # the last call may be done but unanswered
        seek(pubsub, subscription, name)
        pubsub.drain(subscription, until=lambda texts: texts >= published)


def test_older_file_version_is_migrated(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    topic, subscription = f"projects/{PROJECT}/topics/old-topic", f"projects/{PROJECT}/subscriptions/old-sub"
    message = PubsubMessage(data=b"kept", message_id="7")
    with sqlite3.connect(state / "pubsub.sqlite") as db:
        db.executescript(
            "CREATE TABLE topics (name TEXT PRIMARY KEY);"
            "CREATE TABLE subscriptions (name TEXT PRIMARY KEY, topic TEXT NOT NULL, body TEXT NOT NULL);"
            "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, body BLOB NOT NULL);"
            "CREATE TABLE deliveries (subscription TEXT NOT NULL, message INTEGER NOT NULL, attempts INTEGER NOT NULL,"
            " due REAL NOT NULL, ordering TEXT NOT NULL, PRIMARY KEY (subscription, message));"
        )
        db.execute("INSERT INTO topics VALUES (?)", (topic,))
        body = f'{{"name": "{subscription}", "topic": "{topic}", "ackDeadlineSeconds": 10}}'
        db.execute("INSERT INTO subscriptions VALUES (?, ?, ?)", (subscription, topic, body))
        db.execute("INSERT INTO messages VALUES (7, ?, ?)", (topic, PubsubMessage.serialize(message)))
        db.execute("INSERT INTO deliveries VALUES (?, 7, 0, 0, '')", (subscription,))
    for expected in ("kept", "new"):
        with server("pubsub", state) as port:
            pubsub = PubSub(port)
            assert take_all(pubsub, subscription, 1) == [expected]
            pubsub.publish(topic, "new")


@pytest.mark.slow
def test_unread_burst_uses_little_memory(tmp_path: Path) -> None:
    port = free_port()
    command = ("-m", "local.servers.pubsub", "--port", str(port), "--state", str(tmp_path / "state"))
    with process(*command, log=tmp_path / "log") as started:
        wait_until(lambda: psutil.pid_exists(started.pid) and "ready" in (tmp_path / "log").read_text(), "it answers")
        pubsub, watched = PubSub(port), psutil.Process(started.pid)
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, ack_deadline_seconds=60)
        before = watched.memory_info().rss
        for _ in range(20):
            pubsub.publish(topic, *(["x" * 2000] * 1000))
        grown = watched.memory_info().rss - before
        assert grown < 48 << 20, f"{grown >> 20} MB for 40 MB of messages on disk"
        began, left = time.monotonic(), 20_000
        while left:
            received = pubsub.pull(subscription, 1000)
            pubsub.ack(subscription, received)
            left -= len(received)
        assert time.monotonic() - began < 30
        assert pubsub.due(subscription) == []
