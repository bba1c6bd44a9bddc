"""Pub/Sub as real platforms use it: streams, flow control, exactly-once acks, ordering."""

import time
from concurrent.futures import Future
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument, NotFound
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeStatus
from google.pubsub_v1.types import PubsubMessage, StreamingPullResponse

from tests.support.clients import PubSub
from tests.support.servers import wait_until
from tests.support.streams import in_thread, streaming, subscribed

pytest_plugins = ["tests.support.stand_ins", "tests.support.emulator"]


@pytest.fixture
def pubsub(either_pubsub: PubSub) -> PubSub:
    """Run every test on the stand-in and, where installed, on Google's emulator."""
    return either_pubsub


def test_stream_acks_and_nacks(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "done", "again")
    with streaming(pubsub, subscription) as stream:
        first = stream.texts(2)
        stream.send(ack_ids=[first["done"]], modify_deadline_ack_ids=[first["again"]], modify_deadline_seconds=[0])
        assert stream.texts(1).keys() == {"again"}
    assert pubsub.due(subscription) == []


@pytest.mark.differs("it leaves flow control to the client")
def test_stream_respects_max_outstanding_messages(pubsub: PubSub) -> None:
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
def test_stream_respects_max_outstanding_bytes(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, *("x" * 1000 for _ in range(6)))
    with streaming(pubsub, subscription, max_outstanding_bytes=2500) as stream:
        first = stream.next().received_messages
        assert 1 <= len(first) <= 3
        rest = 6 - len(first)
        assert len(pubsub.due(subscription)) >= rest - 1


@pytest.mark.differs("it answers no empty request")
def test_empty_request_on_a_stream_is_answered(pubsub: PubSub) -> None:
    with streaming(pubsub, pubsub.subscription(pubsub.topic(), enable_exactly_once_delivery=True)) as stream:
        stream.send(stream_ack_deadline_seconds=30)
        alive: Future[StreamingPullResponse] = in_thread(stream.next)
        assert alive.result(3).subscription_properties.exactly_once_delivery_enabled


def test_stream_ends_with_its_subscription(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription, texts = pubsub.subscription(topic := pubsub.topic()), list[bytes]()

    def take(message: Any) -> None:
        texts.append(message.data)
        message.ack()

    with subscribed(pubsub, monkeypatch, subscription, take) as future:
        pubsub.publish(topic, "alive")
        wait_until(lambda: texts, "the stream is open")
        pubsub.subscriber.delete_subscription(subscription=subscription)
        with pytest.raises(NotFound):
            future.result(10)


def test_slow_client_gets_everything(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = pubsub.topic()
    subscription, got = pubsub.subscription(topic), list[bytes]()
    pubsub.publish(topic, *(str(n) for n in range(300)))

    def take(message: Any) -> None:
        got.append(message.data)
        message.ack()

    with subscribed(pubsub, monkeypatch, subscription, take, max_messages=10):
        wait_until(lambda: len(set(got)) == 300, "all messages are delivered")
    assert len(got) == 300


def test_late_or_repeated_ack_is_rejected(pubsub: PubSub) -> None:
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


def test_exactly_once_ack_id_has_a_deadline(pubsub: PubSub) -> None:
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
def test_stream_confirms_exactly_once_acks(pubsub: PubSub) -> None:
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


def test_client_gets_an_ack_confirmation(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    answers: list[Any] = []
    with subscribed(pubsub, monkeypatch, subscription, lambda m: answers.append(m.ack_with_response())):
        pubsub.publish(topic, *"abc")
        wait_until(lambda: len(answers) == 3, "three messages come")
        assert [answer.result(10) for answer in answers] == [AcknowledgeStatus.SUCCESS] * 3
    assert pubsub.due(subscription) == []


@pytest.mark.differs("it delivers only the nacked message again, after later ones")
def test_nacked_ordering_key_keeps_its_order(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = pubsub.topic()
    subscription, texts = pubsub.subscription(topic, enable_message_ordering=True), list[str]()

    def take(message: Any) -> None:
        text = message.data.decode()
        texts.append(text)
        if text == "2" and texts.count("2") == 1:
            message.nack()
        else:
            message.ack()

    messages = [PubsubMessage(data=str(n).encode(), ordering_key="k") for n in range(6)]
    pubsub.publisher.publish(topic=topic, messages=messages)
    with subscribed(pubsub, monkeypatch, subscription, take):
        wait_until(
            lambda: texts[-1:] == ["5"] and texts.count("2") == 2,
            "5 comes after the nacked 2",
            timeout_s=pubsub.patience_s,
        )
    assert texts[:3] == ["0", "1", "2"]
    assert texts[len(texts) - texts[::-1].index("2") - 1 :] == ["2", "3", "4", "5"]


def test_waiting_ordering_key_delays_no_other(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    for key in ("a", "b", ""):
        message = PubsubMessage(data=key.encode() or b"none", ordering_key=key)
        pubsub.publisher.publish(topic=topic, messages=[message])
    assert {r.message.data for r in pubsub.pull(subscription)} == {b"a", b"b", b"none"}


def test_publish_times_grow_with_the_ids(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription, before = pubsub.subscription(topic), time.time()
    for text in "abc":
        pubsub.publish(topic, text)
    messages = sorted((r.message for r in pubsub.pull(subscription)), key=lambda m: int(m.message_id))
    times = [m.publish_time.timestamp() for m in messages]
    assert times == sorted(times)
    assert before - 1 < times[0]
