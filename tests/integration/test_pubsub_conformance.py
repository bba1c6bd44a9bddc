"""Pub/Sub as real platforms use it: streams, flow control, exactly-once acks, ordering, updates, limits."""

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition, GoogleAPICallError, InvalidArgument, NotFound
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeStatus
from google.cloud.pubsub_v1.types import FlowControl
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import PubsubMessage, StreamingPullRequest, StreamingPullResponse, Subscription, Topic

from tests.integration.clients import PROJECT, PubSub, retry, unique
from tests.servers import wait_until

pytest_plugins = ["tests.integration.stand_ins", "tests.integration.emulator"]


@pytest.fixture
def pubsub(either_pubsub: PubSub) -> PubSub:
    """Every test runs on the stand-in and, where it is there, on Google's emulator."""
    return either_pubsub


class Stream:
    """A raw streaming pull: what is sent on it, and what has come so far."""

    def __init__(self, pubsub: PubSub, subscription: str, **limits: int) -> None:
        self._requests: queue.Queue[StreamingPullRequest | None] = queue.Queue()
        self.send(subscription=subscription, stream_ack_deadline_seconds=60, client_id=unique("client"), **limits)
        self._call = pubsub.subscriber.streaming_pull(requests=iter(self._requests.get, None), retry=None, timeout=6)

    def send(self, **fields: Any) -> None:
        self._requests.put(StreamingPullRequest(**fields))

    def next(self) -> StreamingPullResponse:
        return next(self._call)

    def texts(self, count: int) -> dict[str, str]:
        """Ack ids by text of the next messages."""
        found: dict[str, str] = {}
        while len(found) < count:
            found |= {r.message.data.decode(): r.ack_id for r in self.next().received_messages}
        return found

    def end(self) -> None:
        self._requests.put(None)
        self._call.cancel()


@contextmanager
def streaming(pubsub: PubSub, subscription: str, **limits: int) -> Iterator[Stream]:
    stream = Stream(pubsub, subscription, **limits)
    try:
        yield stream
    finally:
        stream.end()


@contextmanager
def subscribed(
    pubsub: PubSub, monkeypatch: pytest.MonkeyPatch, subscription: str, take: Any, **flow: int
) -> Iterator[Any]:
    """The client library's subscriber at work."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    with pubsub_v1.SubscriberClient() as client:
        future = client.subscribe(subscription, take, flow_control=FlowControl(**flow))
        yield future
        future.cancel()


def test_a_stream_acknowledges_and_gives_back(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "done", "again")
    with streaming(pubsub, subscription) as stream:
        first = stream.texts(2)
        stream.send(
            ack_ids=[first["done"]], modify_deadline_ack_ids=[first["again"]], modify_deadline_seconds=[0]
        )  # fmt: skip
        assert stream.texts(1).keys() == {"again"}
    assert pubsub.due(subscription) == []


@pytest.mark.differs("it leaves flow control to the client")
def test_a_stream_has_no_more_outstanding_than_its_client_allows(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, *(str(n) for n in range(10)))
    with streaming(pubsub, subscription, max_outstanding_messages=3) as stream:
        got = stream.texts(3)
        assert len(got) == 3
        assert len(pubsub.due(subscription)) == 7  # they are there, and were not sent
    with streaming(pubsub, subscription, max_outstanding_messages=3) as stream:
        pubsub.publish(topic, *"abcd")
        got = stream.texts(3)
        stream.send(ack_ids=list(got.values())[:1])
        assert len(stream.texts(1)) == 1


@pytest.mark.differs("it leaves flow control to the client")
def test_a_stream_has_no_more_bytes_outstanding_than_its_client_allows(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, *("x" * 1000 for _ in range(6)))
    with streaming(pubsub, subscription, max_outstanding_bytes=2500) as stream:
        first = stream.next().received_messages
        assert 1 <= len(first) <= 3
        rest = 6 - len(first)
        assert len(pubsub.due(subscription)) >= rest - 1


@pytest.mark.differs("it answers no empty request")
def test_an_empty_request_on_a_stream_is_answered(pubsub: PubSub) -> None:
    with streaming(pubsub, pubsub.subscription(pubsub.topic(), enable_exactly_once_delivery=True)) as stream:
        stream.send(stream_ack_deadline_seconds=30)
        alive: Future[StreamingPullResponse] = in_thread(stream.next)
        assert alive.result(3).subscription_properties.exactly_once_delivery_enabled


def in_thread(call: Any) -> "Future[Any]":
    """A call that may never return, made in a thread of its own that does not outlive the tests."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # handed to who waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def test_a_stream_ends_when_its_subscription_is_deleted(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription, seen = pubsub.subscription(topic := pubsub.topic()), list[bytes]()

    def take(message: Any) -> None:
        seen.append(message.data)
        message.ack()

    with subscribed(pubsub, monkeypatch, subscription, take) as future:
        pubsub.publish(topic, "alive")
        wait_until(lambda: seen, "the stream is open")
        pubsub.subscriber.delete_subscription(subscription=subscription)
        with pytest.raises(NotFound):
            future.result(10)


def test_a_slow_client_gets_everything_within_its_limits(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = pubsub.topic()
    subscription, got = pubsub.subscription(topic), list[bytes]()
    pubsub.publish(topic, *(str(n) for n in range(300)))

    def take(message: Any) -> None:
        got.append(message.data)
        message.ack()

    with subscribed(pubsub, monkeypatch, subscription, take, max_messages=10):
        wait_until(lambda: len(set(got)) == 300, "all messages are delivered")
    assert len(got) == 300


def test_an_ack_that_came_too_late_or_twice_is_refused_with_exactly_once_delivery(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    pubsub.publish(topic, "once")
    old = pubsub.pull_one(subscription)
    pubsub.nack(subscription, old)
    new = pubsub.pull_one(subscription)
    for call in (lambda: pubsub.ack(subscription, [old]), lambda: pubsub.nack(subscription, old, 10)):
        with pytest.raises(InvalidArgument) as refused:
            call()
        assert refused.value.reason == "EXACTLY_ONCE_ACKID_FAILURE"
        assert refused.value.metadata == {old.ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID"}
    pubsub.ack(subscription, [new])
    with pytest.raises(InvalidArgument):
        pubsub.ack(subscription, [new])
    assert pubsub.due(subscription) == []


def test_an_ack_id_ends_with_its_deadline_under_exactly_once_delivery(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    pubsub.publish(topic, "slow")
    first = pubsub.pull_one(subscription)
    pubsub.nack(subscription, first, seconds=1)
    assert pubsub.due(subscription) == []
    again = pubsub.pull_one(subscription)
    with pytest.raises(InvalidArgument):
        pubsub.ack(subscription, [first])
    pubsub.ack(subscription, [again])


@pytest.mark.differs("it confirms no acknowledgement on a stream")
def test_a_stream_confirms_what_it_acknowledged_exactly_once(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    pubsub.publish(topic, "once")
    with streaming(pubsub, subscription) as stream:
        response = stream.next()
        assert response.subscription_properties.exactly_once_delivery_enabled
        (ack_id,) = [r.ack_id for r in response.received_messages]
        confirmed, invalid = [], []
        for _ in range(2):
            stream.send(ack_ids=[ack_id])
            while not (confirmation := stream.next().acknowledge_confirmation):
                pass
            confirmed.append(list(confirmation.ack_ids))
            invalid.append(list(confirmation.invalid_ack_ids))
    assert (confirmed, invalid) == ([[ack_id], []], [[], [ack_id]])


def test_the_client_learns_that_its_ack_counts(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    answers: list[Any] = []
    with subscribed(pubsub, monkeypatch, subscription, lambda m: answers.append(m.ack_with_response())):
        pubsub.publish(topic, *"abc")
        wait_until(lambda: len(answers) == 3, "three messages come")
        assert [answer.result(10) for answer in answers] == [AcknowledgeStatus.SUCCESS] * 3
    assert pubsub.due(subscription) == []


@pytest.mark.differs("it delivers only the nacked message again, after later ones")
def test_after_a_nack_the_rest_of_an_ordering_key_comes_again_in_order(
    pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = pubsub.topic()
    subscription, seen = pubsub.subscription(topic, enable_message_ordering=True), list[str]()

    def take(message: Any) -> None:
        text = message.data.decode()
        seen.append(text)
        if text == "2" and seen.count("2") == 1:
            message.nack()
        else:
            message.ack()

    messages = [PubsubMessage(data=str(n).encode(), ordering_key="k") for n in range(6)]
    pubsub.publisher.publish(topic=topic, messages=messages)
    with subscribed(pubsub, monkeypatch, subscription, take):
        wait_until(lambda: seen[-1:] == ["5"] and seen.count("2") == 2, "5 comes after the nacked 2", timeout_s=6)
    assert seen[:3] == ["0", "1", "2"]
    assert seen[len(seen) - seen[::-1].index("2") - 1 :] == ["2", "3", "4", "5"]


def test_a_key_that_waits_holds_up_no_other_key(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    for key in ("a", "b", ""):
        message = PubsubMessage(data=key.encode() or b"none", ordering_key=key)
        pubsub.publisher.publish(topic=topic, messages=[message])
    assert {r.message.data for r in pubsub.pull(subscription)} == {b"a", b"b", b"none"}


@pytest.mark.differs("it changes no labels and no retention")
def test_an_update_of_a_topic_changes_what_its_mask_names(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    wanted = Topic(name=topic, labels={"team": "lake"}, message_retention_duration=Duration(seconds=600))
    changed = pubsub.publisher.update_topic(topic=wanted, update_mask=FieldMask(paths=["message_retention_duration"]))
    assert changed == pubsub.publisher.get_topic(topic=topic)
    assert (changed.message_retention_duration.total_seconds(), dict(changed.labels)) == (600, {})
    subscription = pubsub.subscription(topic)
    found = pubsub.subscriber.get_subscription(subscription=subscription)
    assert found.topic_message_retention_duration.total_seconds() == 600
    pubsub.publisher.update_topic(topic=wanted, update_mask=FieldMask(paths=["labels"]))
    cleared = pubsub.publisher.update_topic(
        topic=Topic(name=topic), update_mask=FieldMask(paths=["message_retention_duration"])
    )
    assert dict(cleared.labels) == {"team": "lake"}
    assert not cleared.message_retention_duration


@pytest.mark.parametrize("paths", [[], ["name"], ["no_such_field"]])
def test_a_topic_refuses_a_mask_that_names_nothing_or_what_cannot_change(pubsub: PubSub, paths: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.publisher.update_topic(topic=Topic(name=pubsub.topic()), update_mask=FieldMask(paths=paths))


def test_an_update_clears_what_its_mask_names_and_the_request_leaves_out(pubsub: PubSub) -> None:
    name = pubsub.subscription(pubsub.topic(), retry_policy=retry(1, 2))
    mask = FieldMask(paths=["retry_policy"])
    pubsub.subscriber.update_subscription(subscription=Subscription(name=name), update_mask=mask)
    assert not pubsub.subscriber.get_subscription(subscription=name).retry_policy


LIMITS: list[dict[str, Any]] = [
    {"ack_deadline_seconds": 601}, {"message_retention_duration": Duration(seconds=599)},
    {"message_retention_duration": Duration(seconds=32 * 86_400)}, {"retry_policy": retry(0, 601)},
]  # fmt: skip


@pytest.mark.parametrize("settings", LIMITS, ids=lambda s: next(iter(s)))
def test_a_setting_out_of_bounds_is_refused(pubsub: PubSub, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.subscription(pubsub.topic(), **settings)


@pytest.mark.parametrize("name", ["1st", "goog-topic", "ab", "with space", "x" * 256])
def test_a_name_that_google_refuses_is_refused(pubsub: PubSub, name: str) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.publisher.create_topic(name=f"projects/{PROJECT}/topics/{name}")
    topic = pubsub.topic()
    with pytest.raises(InvalidArgument):
        pubsub.subscriber.create_subscription(name=f"projects/{PROJECT}/subscriptions/{name}", topic=topic)


def test_an_ack_id_that_was_never_given_out_is_refused(pubsub: PubSub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument):
        pubsub.subscriber.acknowledge(subscription=subscription, ack_ids=["bogus"])


@pytest.mark.differs("it can't detach")
def test_a_detached_subscription_delivers_and_hears_nothing_more(
    pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "dropped")
    pubsub.publisher.detach_subscription(request={"subscription": subscription})
    pubsub.publish(topic, "unheard")
    assert pubsub.subscriber.get_subscription(subscription=subscription).detached
    assert list(pubsub.publisher.list_topic_subscriptions(topic=topic)) == []
    with pytest.raises(FailedPrecondition):
        pubsub.due(subscription)
    with (
        subscribed(pubsub, monkeypatch, subscription, lambda _: None) as future,
        pytest.raises(FailedPrecondition),
    ):
        future.result(10)


@pytest.mark.parametrize(
    "message",
    [
        PubsubMessage(data=b"x", attributes={"k" * 257: "v"}), PubsubMessage(data=b"x", attributes={"k": "v" * 1025}),
        PubsubMessage(data=b"x", attributes={f"k{n}": "" for n in range(101)}),
    ],
    ids=["key", "value", "many"],
)  # fmt: skip
@pytest.mark.differs("it takes any attributes")
def test_attributes_out_of_bounds_are_refused(pubsub: PubSub, message: PubsubMessage) -> None:
    with pytest.raises(GoogleAPICallError):
        pubsub.publisher.publish(topic=pubsub.topic(), messages=[message])


def test_publish_times_grow_with_the_ids(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription, before = pubsub.subscription(topic), time.time()
    for text in "abc":
        pubsub.publish(topic, text)
    messages = sorted((r.message for r in pubsub.pull(subscription)), key=lambda m: int(m.message_id))
    times = [m.publish_time.timestamp() for m in messages]
    assert times == sorted(times)
    assert before - 1 < times[0]
