"""Events lost, repeated, shuffled and in bursts, on the real stack: time is lost, never data."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from google.pubsub_v1.types import PubsubMessage, Subscription

from local.stack.local_stack import BUCKET, PROJECT
from millrace.domain import names
from millrace.domain.events import IngestRequested
from millrace.domain.ledger import EVER
from millrace.events.bus import EventBus
from millrace.events.dead_letters import DeadLetters
from millrace.events.reasons import rejection_reason
from millrace.events.sort import settle_letters
from tests.chaos.way import (
    active_runs,
    begun_runs,
    marts_are_right,
    next_day,
    reconcile_every,
    settled,
    start_ingest,
    subscription_path,
    topic_path,
)
from tests.e2e.landing import airline, land, parquet
from tests.e2e.stack import Stack, now
from tests.support.clients import PubSub, storage_client
from tests.support.servers import wait_until

pytestmark = pytest.mark.demo

LANDINGS, MOST_MERGES, MOST_MODELS = 1000, 3, 2
TIMES, DAYS = 5, 2


def drop_every_notification(stack: Stack) -> None:
    """Stop all events: the bucket sends no notifications, and no topic has a push subscription."""
    bucket = storage_client(stack.local.ports["storage"]).bucket(BUCKET)
    for notification in bucket.list_notifications():
        notification.delete()
    subscriber = PubSub(stack.local.ports["pubsub"]).subscriber
    for topic in names.TOPICS:
        subscriber.delete_subscription(subscription=subscription_path(names.gateway_subscription(topic)))


def test_one_reconcile_recovers_all_lost_events(stack: Stack) -> None:
    since = now()
    drop_every_notification(stack)
    number = next_day(stack)
    assert not stack.run("ingest/ingest", source="airport_ops").bad
    assert not settled(stack)
    began = time.monotonic()
    assert not stack.run("reconcile/reconcile").bad
    wait_until(lambda: not active_runs(stack), "what reconcile started has ended", 180)
    assert settled(stack)
    assert marts_are_right(stack, number)
    print(f"marts of a day right {time.monotonic() - began:.0f} s after the start of one reconcile, without any event")
    for flow in ("merge", "model"):
        for run in begun_runs(stack, flow, since):
            assert (run["created_by"] or {}).get("type") != "AUTOMATION"


class Repeater:
    """Publishes each message four times more, late and in another order; its own copies have an attribute."""

    def __init__(self, pubsub: PubSub, chance: random.Random) -> None:
        self._pubsub, self._chance = pubsub, chance
        self._subscriptions = {topic: subscription_path(f"{topic}-repeated") for topic in names.TOPICS}
        for topic, path in self._subscriptions.items():
            pubsub.subscriber.create_subscription(Subscription(name=path, topic=topic_path(topic)))
        self.first: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self._pool: list[tuple[str, PubsubMessage]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Repeater":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(0.2) or self._pool:
            for topic, path in self._subscriptions.items():
                self._listen(topic, path)
            self._chance.shuffle(self._pool)
            now, self._pool = self._pool[: len(self._pool) // 2 + 1], self._pool[len(self._pool) // 2 + 1 :]
            for topic, message in now:
                self._pubsub.publisher.publish(topic=topic_path(topic), messages=[message])
                self.copies[topic] += 1

    def _listen(self, topic: str, path: str) -> None:
        came = self._pubsub.due(path)
        for message in (r.message for r in came if "copy" not in r.message.attributes):
            self.first[topic] += 1
            copy = PubsubMessage(data=message.data, attributes={**message.attributes, "copy": "1"})
            self._pool += [(topic, copy)] * (TIMES - 1)
        if came:
            self._pubsub.ack(path, came)


def test_repeated_shuffled_events_change_nothing(stack: Stack, chance: random.Random) -> None:
    since = now()
    with Repeater(PubSub(stack.local.ports["pubsub"]), chance) as repeater:
        for _ in range(DAYS):
            number = next_day(stack)
            start_ingest(stack)
            wait_until(lambda n=number: settled(stack) and marts_are_right(stack, n), f"day {number} is right", 240)  # type: ignore[misc]
    wait_until(lambda: not active_runs(stack), "all runs have ended", 180)
    assert repeater.copies == Counter({topic: count * (TIMES - 1) for topic, count in repeater.first.items()})
    assert min(repeater.first[t] for t in (names.LAKE_LANDED, names.WAREHOUSE_MERGED, names.MARTS_PUBLISHED)) > 0
    assert settled(stack)
    assert marts_are_right(stack, number)
    merged = Counter(entry.batch_id for entry in stack.platform.warehouse.ledger(EVER, kinds=["merged"]))
    runs = {flow: len(begun_runs(stack, flow, since)) for flow in ("merge", "model")}
    print(f"{repeater.first.total()} messages and {repeater.copies.total()} copies: {len(merged)} batches, runs {runs}")
    assert max(merged.values()) == 1


@contextmanager
def prefect_hangs(stack: Stack) -> Iterator[None]:
    """Suspend Prefect's server meanwhile."""
    pid = stack.pids()["prefect"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_events_survive_a_long_prefect_outage(stack: Stack) -> None:
    number, since = next_day(stack), now()
    reconcile_every(stack, 20)
    dead = DeadLetters(PROJECT, stack.local.grpc("pubsub"))
    began = time.monotonic()
    with prefect_hangs(stack):
        EventBus(PROJECT, stack.local.grpc("pubsub")).publish(IngestRequested(source="airport_ops", reason="a test"))
        wait_until(lambda: letters(dead), "the request is given up", 400)
    away = time.monotonic() - began
    wait_until(lambda: settled(stack) and marts_are_right(stack, number), "the requested data is in the marts", 240)
    print(f"Prefect away for {away:.0f} s; marts right {time.monotonic() - began - away:.0f} s after it was back")
    assert letters(dead) == []
    (ingest,) = begun_runs(stack, "ingest", since)
    assert (ingest["created_by"] or {}).get("type") == "AUTOMATION"


def letters(dead: DeadLetters) -> list[str]:
    """Ids of the dead requests."""
    return [letter.id for letter in settle_letters(dead, "list", rejection_reason, topics=[names.INGEST_REQUESTED])]


def test_thousand_landings_become_a_few_merges(stack: Stack) -> None:
    number = next_day(stack)  # every table must be there, or no mart is built
    start_ingest(stack)
    wait_until(lambda: settled(stack) and not active_runs(stack), f"day {number} is published", 240)
    before, since = len(stack.platform.warehouse.ledger(EVER, kinds=["merged"])), now()
    lake, began = stack.platform.lake, time.monotonic()
    for row in range(LANDINGS):
        land(lake, parquet([airline(f"{row:04d}", f"airline {row}", lsn=1 + row)]))
    landed = time.monotonic() - began
    wait_until(lambda: settled(stack) and not active_runs(stack), "all landings are published", 900)
    ledger = stack.platform.warehouse.ledger(EVER, kinds=["merged"])[before:]
    merges, models = (len(begun_runs(stack, flow, since)) for flow in ("merge", "model"))
    print(
        f"{LANDINGS} landings in {landed:.0f} s: {merges} merge runs, {len(ledger)} batches, {models} model runs,"
        f" published {time.monotonic() - began:.0f} s after the first"
    )
    assert sum(entry.rows_in for entry in ledger) == sum(entry.merged for entry in ledger) == LANDINGS
    assert 1 <= merges <= MOST_MERGES
    assert 1 <= models <= MOST_MODELS
