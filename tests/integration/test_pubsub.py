"""Pub/Sub through Google's clients: topics, subscriptions, pulling, retries, dead letters."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import AlreadyExists, InvalidArgument, NotFound
from google.cloud import pubsub_v1
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, PushConfig, Subscription

from tests.support.clients import PROJECT, PubSub, killable, retry, unique, write_until_killed
from tests.support.servers import free_port, server, wait_until

pytest_plugins = ["tests.support.stand_ins", "tests.support.emulator"]


@pytest.fixture
def pubsub(either_pubsub: PubSub) -> PubSub:
    """Run every test on the stand-in and, where installed, on Google's emulator."""
    return either_pubsub


def test_topic_is_created_listed_and_deleted(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    assert pubsub.publisher.get_topic(topic=topic).name == topic
    assert topic in [t.name for t in pubsub.publisher.list_topics(project=f"projects/{PROJECT}")]
    with pytest.raises(AlreadyExists):
        pubsub.publisher.create_topic(name=topic)
    pubsub.publisher.delete_topic(topic=topic)
    for call in (pubsub.publisher.get_topic, pubsub.publisher.delete_topic):
        with pytest.raises(NotFound):
            call(topic=topic)
    with pytest.raises(NotFound):
        pubsub.publish(topic, "lost")


def test_subscription_can_be_listed_and_deleted(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, ack_deadline_seconds=30)
    subscription = pubsub.subscriber.get_subscription(subscription=name)
    assert (subscription.topic, subscription.ack_deadline_seconds) == (topic, 30)
    assert list(pubsub.publisher.list_topic_subscriptions(topic=topic)) == [name]
    assert name in [s.name for s in pubsub.subscriber.list_subscriptions(project=f"projects/{PROJECT}")]
    with pytest.raises(AlreadyExists):
        pubsub.subscriber.create_subscription(name=name, topic=topic)
    pubsub.subscriber.delete_subscription(subscription=name)
    for call in (pubsub.subscriber.get_subscription, pubsub.subscriber.delete_subscription):
        with pytest.raises(NotFound):
            call(subscription=name)
    with pytest.raises(NotFound):
        pubsub.due(name)


def test_subscription_needs_an_existing_topic(pubsub: PubSub) -> None:
    with pytest.raises(NotFound):
        pubsub.subscription(f"projects/{PROJECT}/topics/{unique('none')}")


def test_lists_are_paged_to_their_end(pubsub: PubSub) -> None:
    project = f"projects/{unique('project')}"
    topics = [pubsub.publisher.create_topic(name=f"{project}/topics/topic{n}").name for n in range(5)]
    pages = list(pubsub.publisher.list_topics(request={"project": project, "page_size": 2}).pages)
    assert [t.name for page in pages for t in page.topics] == topics
    assert len(pages) == 3


def test_message_reaches_every_subscription(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscriptions = [pubsub.subscription(topic) for _ in range(2)]
    before = time.time()
    (published,) = pubsub.publish(topic, "hello", stream="flights")
    for subscription in subscriptions:
        message = pubsub.pull_one(subscription).message
        assert (message.message_id, message.data) == (published, b"hello")
        assert dict(message.attributes) == {"stream": "flights"}
        assert abs(message.publish_time.timestamp() - before) < 10


def test_subscription_starts_with_later_messages(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    early = pubsub.publish(topic, "early")
    subscription = pubsub.subscription(topic)
    later = pubsub.publish(topic, "a", "b")
    assert len({*early, *later}) == 3
    assert [r.message.message_id for r in pubsub.pull(subscription)] == later


def test_empty_message_is_rejected(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    with pytest.raises(InvalidArgument):
        pubsub.publisher.publish(topic=topic, messages=[])
    with pytest.raises(InvalidArgument):
        pubsub.publisher.publish(topic=topic, messages=[PubsubMessage()])


def test_waiting_pull_returns_on_a_message(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pubsub.pull_one, subscription)
        pubsub.publish(topic, "news")
        assert waiting.result(3).message.data == b"news"


def test_acknowledged_and_leased_stay_undelivered(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "a", "b", "c")
    two = pubsub.pull(subscription, at_most=2)
    assert [r.message.data for r in two] == [b"a", b"b"]
    (third,) = pubsub.due(subscription)
    assert third.message.data == b"c"
    assert pubsub.due(subscription) == []
    pubsub.ack(subscription, [*two, third])
    pubsub.nack(subscription, third)
    assert pubsub.due(subscription) == []


def test_nacked_message_is_redelivered_at_once(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "again")
    first = pubsub.pull_one(subscription)
    pubsub.nack(subscription, first)
    second = pubsub.pull_one(subscription)
    assert second.message == first.message
    assert second.ack_id != first.ack_id


def test_unacknowledged_message_is_redelivered(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "slow")
    first = pubsub.pull_one(subscription)
    pubsub.nack(subscription, first, seconds=1)
    assert pubsub.due(subscription) == []
    assert pubsub.pull_one(subscription).message == first.message


def test_old_ack_id_moves_no_later_deadline(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "once")
    first = pubsub.pull_one(subscription)
    pubsub.nack(subscription, first)
    pubsub.pull_one(subscription)
    pubsub.nack(subscription, first)
    assert pubsub.due(subscription) == []


@pytest.mark.differs("it does not keep the first backoff")
def test_retry_policy_grows_the_delay(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, retry_policy=retry(0.4, 1))
    pubsub.publish(topic, "later")
    received, waits = pubsub.pull_one(subscription), []
    for _ in range(3):
        pubsub.nack(subscription, received)
        given_back = time.monotonic()
        assert pubsub.due(subscription) == []
        received = pubsub.pull_one(subscription)
        waits.append(time.monotonic() - given_back)
    assert [wait > least for wait, least in zip(waits, (0.35, 0.75, 0.95), strict=True)] == [True] * 3, waits
    assert waits[2] < 1.5


def test_failing_message_is_dead_lettered(pubsub: PubSub) -> None:
    topic, subscription, dead = pubsub.dead_lettered()
    (published,) = pubsub.publish(topic, "poison", stream="flights")
    for attempt in range(1, 6):
        received = pubsub.pull_one(subscription)
        assert received.delivery_attempt == attempt
        pubsub.nack(subscription, received)
    assert pubsub.due(subscription) == []
    message = pubsub.pull_one(dead).message
    assert (message.data, message.attributes["stream"]) == (b"poison", "flights")
    assert message.message_id != published
    origin = {k.removeprefix("CloudPubSubDeadLetterSource"): v for k, v in message.attributes.items()}
    assert origin["Subscription"] == subscription.split("/")[-1]
    assert origin["SubscriptionProject"] == PROJECT
    assert origin["DeliveryCount"] == "5"
    assert origin["TopicPublishTime"].endswith("Z")


def test_attempts_need_a_dead_letter_policy(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "x")
    assert pubsub.pull_one(subscription).delivery_attempt == 0


@pytest.mark.differs("it takes any number of attempts")
def test_dead_letter_policy_has_5_to_100_attempts(pubsub: PubSub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    name = pubsub.subscription(topic, dead_letter_policy=DeadLetterPolicy(dead_letter_topic=dead))
    policy = pubsub.subscriber.get_subscription(subscription=name).dead_letter_policy
    assert policy.max_delivery_attempts == 5
    for attempts in (4, 101):
        with pytest.raises(InvalidArgument):
            pubsub.subscription(topic, dead_letter_policy=DeadLetterPolicy(max_delivery_attempts=attempts))


def test_update_changes_only_masked_fields(pubsub: PubSub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    name = pubsub.subscription(topic, ack_deadline_seconds=20, retry_policy=retry(1, 2))
    changed = Subscription(
        name=name,
        topic=dead,
        ack_deadline_seconds=60,
        retry_policy=retry(3, 30),
        labels={"not": "masked"},
        push_config=PushConfig(push_endpoint="http://127.0.0.1:1/push"),
        dead_letter_policy=DeadLetterPolicy(dead_letter_topic=dead, max_delivery_attempts=10),
    )
    mask = FieldMask(paths=["push_config", "dead_letter_policy", "retry_policy", "ack_deadline_seconds"])
    pubsub.subscriber.update_subscription(subscription=changed, update_mask=mask)
    updated = pubsub.subscriber.get_subscription(subscription=name)
    for field in mask.paths:
        assert getattr(updated, field) == getattr(changed, field), field
    assert (updated.topic, dict(updated.labels)) == (topic, {})


@pytest.mark.parametrize("path", ["topic", "name", "filter", "no_such_field"])
def test_update_of_a_fixed_field_is_rejected(pubsub: PubSub, path: str) -> None:
    name = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument):
        pubsub.subscriber.update_subscription(subscription=Subscription(name=name), update_mask=FieldMask(paths=[path]))


def test_subscription_outlives_its_deleted_topic(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "old")
    pubsub.publisher.delete_topic(topic=topic)
    assert pubsub.subscriber.get_subscription(subscription=subscription).topic == "_deleted-topic_"
    pubsub.publisher.create_topic(name=topic)
    pubsub.publish(topic, "new")
    assert [r.message.data for r in pubsub.pull(subscription)] == [b"old"]


@pytest.mark.differs("it ignores filters")
def test_filter_passes_only_matching_messages(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    condition = 'attributes.kind = "landed" AND NOT hasPrefix(attributes.stream, "tmp_")'
    subscription = pubsub.subscription(topic, filter=condition)
    pubsub.publish(topic, "yes", kind="landed", stream="flights")
    pubsub.publish(topic, "temporary", kind="landed", stream="tmp_flights")
    pubsub.publish(topic, "other", kind="merged", stream="flights")
    assert [r.message.data for r in pubsub.pull(subscription)] == [b"yes"]


@pytest.mark.differs("it ignores filters")
@pytest.mark.parametrize("malformed", ["attributes.a =", "NOT", '(attributes.a = "b"', "nonsense"])
def test_malformed_filter_is_rejected(pubsub: PubSub, malformed: str) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.subscription(pubsub.topic(), filter=malformed)


def test_ordering_key_is_delivered_in_order(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, enable_message_ordering=True)
    messages = [PubsubMessage(data=str(n).encode(), ordering_key="k") for n in range(3)]
    pubsub.publisher.publish(topic=topic, messages=messages)
    texts: list[bytes] = []
    while len(texts) < 3:  # the server decides how many messages a pull returns
        received = pubsub.pull(subscription)
        assert received
        assert pubsub.due(subscription) == []
        pubsub.ack(subscription, received)
        texts += [r.message.data for r in received]
    assert texts == [b"0", b"1", b"2"]


def test_streaming_client_receives_and_acks(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    got: list[bytes] = []
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)

    def take(message: Any) -> None:
        got.append(message.data)
        message.ack()

    with pubsub_v1.SubscriberClient() as client:
        stream = client.subscribe(subscription, take)
        pubsub.publish(topic, *(str(n) for n in range(50)))
        wait_until(lambda: len(got) == 50, "the stream delivers 50 messages")
        stream.cancel()
        stream.result(10)
    assert sorted(map(int, got)) == list(range(50))
    assert pubsub.due(subscription) == []


def test_clean_restart_keeps_the_state(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with server("pubsub", state, port=port):
        pubsub = PubSub(port)
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, retry_policy=retry(1, 2), labels={"a": "b"})
        pubsub.publish(topic, "done", "kept")
        pubsub.ack(subscription, pubsub.pull(subscription, at_most=1))
        before = pubsub.subscriber.get_subscription(subscription=subscription)
    with server("pubsub", state, port=port):
        pubsub = PubSub(port)
        assert pubsub.subscriber.get_subscription(subscription=subscription) == before
        assert [r.message.data for r in pubsub.pull(subscription)] == [b"kept"]
        pubsub.publish(topic, "new")
        assert pubsub.pull_one(subscription).message.data == b"new"


def test_kill_amid_publishing_loses_no_messages(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with killable("pubsub", state, port=port) as (_, kill):
        pubsub = PubSub(port)
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)

        def write(thread: int, number: int) -> str:
            pubsub.publish(topic, text := f"{thread}-{number}")
            return text

        acknowledged = write_until_killed(write, kill)
    with server("pubsub", state, port=port):
        texts = PubSub(port).drain(subscription, until=lambda got: got >= set(acknowledged))
    assert len(texts) - len(acknowledged) <= 4  # one call of each thread may be written but unanswered
