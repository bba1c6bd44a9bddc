"""What the server does with messages: filters, wakes waiting readers, dead-letters."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Sequence

from local.pubsub.store import Lease, MessagePb, Store, backoff
from local.rpc import Proto, Refused

TERM = re.compile(
    r'\s*(?:(?P<word>AND|OR|NOT|\(|\)|-)|hasPrefix\(\s*attributes\.(?P<pk>[\w-]+)\s*,\s*"(?P<prefix>[^"]*)"\s*\)'
    r'|attributes\.(?P<k>[\w-]+)\s*(?P<op>!?=)\s*"(?P<v>[^"]*)"|attributes:(?P<has>[\w-]+))'
)


class Broker:
    """Messages between topics and subscriptions."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.subscriptions = store.subscriptions()
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def publish(self, topic: str, messages: Sequence[Proto]) -> list[str]:
        """Keep messages for every subscription whose filter they pass."""
        listening = [s for s in self.subscriptions.values() if s.topic == topic]
        targets = {i: [s.name for s in listening if passes(s.filter, m)] for i, m in enumerate(messages)}
        ids = self.store.publish(topic, messages, targets)
        for name in {name for names in targets.values() for name in names}:
            self.wake(name)
        return ids

    def take(self, subscription: Proto, count: int, seconds: float = 0) -> list[Lease]:
        """Lease what is due; what was tried too often goes to the dead-letter topic instead."""
        limit = subscription.dead_letter_policy.max_delivery_attempts
        good = []
        for lease in self.store.lease(subscription, count, seconds or subscription.ack_deadline_seconds or 10):
            if limit and lease.attempt > limit:
                self._bury(subscription, lease)
            else:
                good.append(lease)
        return good

    def _bury(self, subscription: Proto, lease: Lease) -> None:
        copy = MessagePb()
        copy.CopyFrom(lease.message)
        project, short = subscription.name.split("/")[1], subscription.name.split("/")[-1]
        copy.attributes["CloudPubSubDeadLetterSourceSubscription"] = short
        copy.attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] = project
        copy.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] = str(lease.attempt - 1)
        copy.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = lease.message.publish_time.ToJsonString()
        if subscription.dead_letter_policy.dead_letter_topic in self.store.topics():
            self.publish(subscription.dead_letter_policy.dead_letter_topic, [copy])
            self.store.acknowledge(subscription.name, [lease.ack_id])

    def acknowledge(self, name: str, ack_ids: Sequence[str]) -> None:
        """Forget messages; the next of their ordering keys become free."""
        self.store.acknowledge(name, ack_ids)
        if self.subscriptions[name].enable_message_ordering:
            self.wake(name)

    def extend(self, name: str, ack_ids: Sequence[str], seconds: float) -> None:
        """Move deadlines; 0 gives a message back, after the retry policy's backoff."""
        for ack_id in ack_ids:
            attempt = int(ack_id.partition("-")[2] or 1)
            policy = self.subscriptions[name].HasField("retry_policy")
            wait = seconds or (backoff(self.subscriptions[name], attempt) if policy else 0)
            self.store.postpone(name, ack_id, wait)
        self.wake(name)

    def wake(self, name: str) -> None:
        """Tell whoever waits for a subscription to look again."""
        self._news[name].set()
        self._news[name] = asyncio.Event()

    async def wait(self, subscription: Proto, longest_s: float) -> None:
        """Wait until something may be due."""
        news = self._news[subscription.name]
        due = self.store.next_due(subscription)
        seconds = longest_s if due is None else min(longest_s, due + 0.005)
        try:
            await asyncio.wait_for(news.wait(), max(seconds, 0.005))
        except TimeoutError:
            return


def passes(expression: str, message: Proto) -> bool:
    """Whether a message's attributes meet a subscription's filter."""
    return not expression or _evaluate(parse_filter(expression), dict(message.attributes))


def parse_filter(expression: str) -> list[re.Match[str]]:
    """Terms of a filter. Raises Refused when it is malformed."""
    terms, position = [], 0
    while expression[position:].strip():
        match = TERM.match(expression, position)
        if not match:
            raise Refused("INVALID_ARGUMENT", f"filter {expression!r} is malformed at {expression[position:]!r}")
        terms.append(match)
        position = match.end()
    return terms


def _evaluate(terms: list[re.Match[str]], attributes: dict[str, str]) -> bool:
    """Recursive descent: OR of ANDs of optionally negated terms."""
    rest = list(terms)

    def peek() -> str:
        return (rest[0]["word"] or "") if rest else ")"

    def any_of() -> bool:
        value = all_of()
        while peek() == "OR":
            rest.pop(0)
            value = all_of() or value
        return value

    def all_of() -> bool:
        value = one()
        while peek() not in ("OR", ")"):
            if peek() == "AND":
                rest.pop(0)
            value = one() and value
        return value

    def one() -> bool:
        if not rest:
            raise Refused("INVALID_ARGUMENT", "the filter ends too early")
        term = rest.pop(0)
        if term["word"] in ("NOT", "-"):
            return not one()
        if term["word"] == "(":
            value = any_of()
            if not rest:
                raise Refused("INVALID_ARGUMENT", "the filter lacks a closing parenthesis")
            rest.pop(0)
            return value
        if term["pk"]:
            return term["pk"] in attributes and attributes[term["pk"]].startswith(term["prefix"])
        if term["has"]:
            return term["has"] in attributes
        return (attributes.get(term["k"]) == term["v"]) == (term["op"] == "=")

    return any_of()
