"""Settings of Pub/Sub: updates by mask, limits, and subscriptions that are detached from their topics."""

from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition, GoogleAPICallError, InvalidArgument
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import PubsubMessage, Subscription, Topic

from tests.support.clients import PROJECT, PubSub, retry
from tests.support.streams import subscribed

pytest_plugins = ["tests.support.stand_ins", "tests.support.emulator"]


@pytest.fixture
def pubsub(either_pubsub: PubSub) -> PubSub:
    """Run every test on the stand-in and, where installed, on Google's emulator."""
    return either_pubsub


@pytest.mark.differs("it changes no labels and no retention")
def test_topic_update_changes_only_masked_fields(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    update = Topic(name=topic, labels={"team": "lake"}, message_retention_duration=Duration(seconds=600))
    changed = pubsub.publisher.update_topic(topic=update, update_mask=FieldMask(paths=["message_retention_duration"]))
    assert changed == pubsub.publisher.get_topic(topic=topic)
    assert (changed.message_retention_duration.total_seconds(), dict(changed.labels)) == (600, {})
    subscription = pubsub.subscription(topic)
    read_back = pubsub.subscriber.get_subscription(subscription=subscription)
    assert read_back.topic_message_retention_duration.total_seconds() == 600
    pubsub.publisher.update_topic(topic=update, update_mask=FieldMask(paths=["labels"]))
    cleared = pubsub.publisher.update_topic(
        topic=Topic(name=topic), update_mask=FieldMask(paths=["message_retention_duration"])
    )
    assert dict(cleared.labels) == {"team": "lake"}
    assert not cleared.message_retention_duration


@pytest.mark.parametrize("paths", [[], ["name"], ["no_such_field"]])
def test_topic_rejects_empty_or_fixed_masks(pubsub: PubSub, paths: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.publisher.update_topic(topic=Topic(name=pubsub.topic()), update_mask=FieldMask(paths=paths))


def test_masked_field_without_value_is_cleared(pubsub: PubSub) -> None:
    name = pubsub.subscription(pubsub.topic(), retry_policy=retry(1, 2))
    mask = FieldMask(paths=["retry_policy"])
    pubsub.subscriber.update_subscription(subscription=Subscription(name=name), update_mask=mask)
    assert not pubsub.subscriber.get_subscription(subscription=name).retry_policy


LIMITS: list[dict[str, Any]] = [
    {"ack_deadline_seconds": 601},
    {"message_retention_duration": Duration(seconds=599)},
    {"message_retention_duration": Duration(seconds=32 * 86_400)},
    {"retry_policy": retry(0, 601)},
]


@pytest.mark.parametrize("settings", LIMITS, ids=lambda s: next(iter(s)))
def test_setting_out_of_bounds_is_rejected(pubsub: PubSub, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.subscription(pubsub.topic(), **settings)


@pytest.mark.parametrize("name", ["1st", "goog-topic", "ab", "with space", "x" * 256])
def test_name_invalid_at_google_is_rejected(pubsub: PubSub, name: str) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.publisher.create_topic(name=f"projects/{PROJECT}/topics/{name}")
    topic = pubsub.topic()
    with pytest.raises(InvalidArgument):
        pubsub.subscriber.create_subscription(name=f"projects/{PROJECT}/subscriptions/{name}", topic=topic)


def test_unknown_ack_id_is_rejected(pubsub: PubSub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    for ack_id in ("bogus", "²-1", "9" * 30 + "-1", "-"):
        with pytest.raises(InvalidArgument):
            pubsub.subscriber.acknowledge(subscription=subscription, ack_ids=[ack_id])


@pytest.mark.differs("it can't detach")
def test_detached_subscription_delivers_nothing(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
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
        PubsubMessage(data=b"x", attributes={"k" * 257: "v"}),
        PubsubMessage(data=b"x", attributes={"k": "v" * 1025}),
        PubsubMessage(data=b"x", attributes={f"k{n}": "" for n in range(101)}),
    ],
    ids=["key", "value", "many"],
)
@pytest.mark.differs("it takes any attributes")
def test_attributes_out_of_bounds_are_rejected(pubsub: PubSub, message: PubsubMessage) -> None:
    with pytest.raises(GoogleAPICallError):
        pubsub.publisher.publish(topic=pubsub.topic(), messages=[message])
