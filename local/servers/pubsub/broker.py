"""Delivers messages: leases them to subscribers, wakes those that wait, and forwards to dead-letter topics."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from local.servers.pubsub.filters import parse_filter
from local.servers.pubsub.history import History
from local.servers.pubsub.store import Holder, Lease, MessagePb, Store, backoff
from local.servers.pubsub.window import Window
from local.servers.rpc import Proto

SWEEP_S = 10.0
LEAST_WAIT_S = 0.005
SOON_S = 10.0


class Broker:
    """Messages between topics and subscriptions."""

    def __init__(self, store: Store) -> None:
        self.store, self.history = store, History(store)
        self.topics = store.topics()
        self.subscriptions = store.subscriptions()
        self.snapshots = self.history.snapshots()
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._windows: dict[str, set[Window]] = defaultdict(set)

    def publish(self, topic: str, messages: Sequence[Proto]) -> list[str]:
        """Store messages for subscriptions whose filter they pass, and for topics and snapshots that retain them."""
        listening = [s for s in self.subscriptions.values() if s.topic == topic and not s.detached]
        keeping = [Holder(s.name) for s in self.snapshots.values() if s.topic == topic]
        if self.topics[topic].HasField("message_retention_duration"):
            keeping.append(Holder(topic))
        holders = [
            [Holder(s.name, True, s.enable_message_ordering) for s in listening if passes(s, message)] + keeping
            for message in messages
        ]
        ids = self.store.publish(topic, messages, holders)
        for name in {holder.name for those in holders for holder in those if holder.delivers}:
            self.wake(name)
        return ids

    def take(self, subscription: Proto, count: int, seconds: float = 0, window: Window | None = None) -> list[Lease]:
        """Lease due messages for which there is room; those delivered too often go to the dead-letter topic instead."""
        seconds = seconds or subscription.ack_deadline_seconds
        if window is None:
            leases = self.store.lease(subscription, count, seconds)
        else:
            messages, most_bytes = window.room(self.store.now())
            leases = self.store.lease(subscription, min(count, messages), seconds, most_bytes)
        leases = [
            lease for lease in leases if not self._bury(subscription, lease.message, lease.ack_id, lease.attempt - 1)
        ]
        if window is not None:
            for lease in leases:
                window.add(lease.ack_id, self.store.now() + seconds, lease.message.ByteSize())
        return leases

    def _bury(self, subscription: Proto, message: Proto, ack_id: str, attempts: int) -> bool:
        """Forward a message that was delivered too often, unless its dead-letter topic does not exist."""
        policy = subscription.dead_letter_policy
        topic = policy.dead_letter_topic
        if not policy.max_delivery_attempts or attempts < policy.max_delivery_attempts or topic not in self.topics:
            return False
        copy = MessagePb()
        copy.CopyFrom(message)
        origin = "CloudPubSubDeadLetterSource"
        copy.attributes[f"{origin}Subscription"] = subscription.name.split("/")[-1]
        copy.attributes[f"{origin}SubscriptionProject"] = subscription.name.split("/")[1]
        copy.attributes[f"{origin}DeliveryCount"] = str(attempts)
        copy.attributes[f"{origin}TopicPublishTime"] = message.publish_time.ToJsonString()
        self.publish(topic, [copy])  # first: a kill in between makes a second copy, and loses none
        self.acknowledge(subscription, [ack_id])
        return True

    def acknowledge(self, subscription: Proto, ack_ids: Sequence[str]) -> list[str]:
        """Let go of messages; returns the ack ids that count no more."""
        rejected = self.store.acknowledge(subscription, ack_ids)
        self._settle(subscription.name, ack_ids)
        if subscription.enable_message_ordering:
            self.wake(subscription.name)
        return rejected

    def extend(self, subscription: Proto, ack_ids: Sequence[str], seconds: float) -> list[str]:
        """Move deadlines; 0 gives messages back. Returns the ack ids that count no more."""
        if not seconds:
            return self.give_back(subscription, ack_ids)
        rejected = []
        for ack_id in ack_ids:
            if not self.store.postpone(subscription, ack_id, seconds, leased=True):
                rejected.append(ack_id)
            for window in self._windows[subscription.name]:
                window.extend(ack_id, self.store.now() + seconds)
        if seconds <= SOON_S:
            self.wake(subscription.name)  # waiting subscribers may sleep beyond the new deadline
        return rejected

    def give_back(self, subscription: Proto, ack_ids: Sequence[str], wait_s: float | None = None) -> list[str]:
        """Make messages due again after `wait_s` seconds, or the retry policy's backoff."""
        rejected = []
        for ack_id in ack_ids:
            wait = self._backoff(subscription, ack_id) if wait_s is None else wait_s
            if not self.store.postpone(subscription, ack_id, wait):
                rejected.append(ack_id)
        self._settle(subscription.name, ack_ids)
        self.wake(subscription.name)
        return rejected

    def _backoff(self, subscription: Proto, ack_id: str) -> float:
        policy = subscription.HasField("retry_policy")
        return backoff(subscription, self.store.attempts(subscription.name, ack_id)) if policy else 0

    def _settle(self, name: str, ack_ids: Iterable[str]) -> None:
        windows = self._windows[name]
        if any([window.remove(ack_id) for ack_id in ack_ids for window in windows]):
            self.wake(name)

    @contextlib.contextmanager
    def watching(self, name: str, window: Window) -> Iterator[None]:
        """Keep a stream's window right while it lives."""
        self._windows[name].add(window)
        try:
            yield
        finally:
            self._windows[name].discard(window)

    def wake(self, name: str) -> None:
        """Wake the callers that wait for a subscription's messages."""
        for event in self._waiting[name]:
            event.set()

    async def wait(self, subscription: Proto, longest_s: float, event: asyncio.Event | None = None) -> None:
        """Wait until something may be due, or an event of the caller's own is set."""
        event, name = event or asyncio.Event(), subscription.name
        due = self.store.next_due(name)
        seconds = longest_s if due is None else min(longest_s, due + LEAST_WAIT_S)
        await self.wait_for_news(name, max(seconds, LEAST_WAIT_S), event)

    async def wait_for_news(self, name: str, seconds: float, event: asyncio.Event) -> None:
        """Wait until a subscription is woken or the event is set, at most so long."""
        self._waiting[name].add(event)
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self._waiting[name].discard(event)

    async def sweep(self) -> None:
        """Delete expired messages, in an endless loop."""
        while True:
            self.history.expire(list(self.subscriptions.values()), list(self.topics.values()))
            self.snapshots = self.history.snapshots()
            await asyncio.sleep(SWEEP_S)


def passes(subscription: Proto, message: Proto) -> bool:
    """Return True when a message matches a subscription's filter."""
    return not subscription.filter or parse_filter(subscription.filter)(message.attributes)
