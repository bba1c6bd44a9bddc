"""Notifications of Cloud Storage on Pub/Sub: their content, their filters, and none lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import storage

from tests.support.clients import PROJECT, PubSub, killable, storage_client, write_until_killed
from tests.support.servers import free_port, server

pytest_plugins = ["tests.support.stand_ins"]


def announce(bucket: storage.Bucket, topic: str, **settings: Any) -> storage.notification.BucketNotification:
    """Announce a bucket's new objects on a topic."""
    options = {"event_types": ["OBJECT_FINALIZE"], "payload_format": "JSON_API_V1"} | settings
    notification = bucket.notification(topic.split("/")[-1], topic_project=PROJECT, **options)
    notification.create()
    return notification


def only_notification(pubsub: PubSub, subscription: str) -> tuple[dict[str, str], bytes]:
    """Return attributes and data of the only notification."""
    received = pubsub.pull_one(subscription)
    pubsub.ack(subscription, [received])
    return dict(received.message.attributes), received.message.data


def test_new_object_is_announced_with_attributes(pubsub: PubSub, bucket: storage.Bucket) -> None:
    topic = pubsub.topic()
    subscription, notification = pubsub.subscription(topic), announce(bucket, topic)
    blob = bucket.blob("_manifests/a b.json")
    blob.metadata = {"k": "v"}
    blob.upload_from_string(b"hello", content_type="application/json")
    attributes, data = only_notification(pubsub, subscription)
    assert attributes.pop("eventTime").endswith("Z")
    assert attributes == {
        "notificationConfig": f"projects/_/buckets/{bucket.name}/notificationConfigs/{notification.notification_id}",
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "JSON_API_V1",
        "bucketId": bucket.name,
        "objectId": "_manifests/a b.json",
        "objectGeneration": str(blob.generation),
    }
    resource = json.loads(data)
    assert (resource["name"], resource["generation"]) == (blob.name, str(blob.generation))
    assert (resource["size"], resource["metadata"], resource["crc32c"]) == ("5", {"k": "v"}, blob.crc32c)


def test_overwrite_names_the_replaced_generation(pubsub: PubSub, bucket: storage.Bucket) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    blob = bucket.blob("a")
    blob.upload_from_string(b"1")
    old = blob.generation
    announce(bucket, topic, payload_format="NONE", custom_attributes={"lake": "yes"})
    blob.upload_from_string(b"2")
    attributes, data = only_notification(pubsub, subscription)
    assert attributes["overwroteGeneration"] == str(old)
    assert (attributes["payloadFormat"], attributes["lake"], data) == ("NONE", "yes", b"")


def test_notification_filters_prefix_and_type(pubsub: PubSub, bucket: storage.Bucket) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    announce(bucket, topic, blob_name_prefix="_manifests/")
    for name in ("raw/_manifests/a", "_manifests_empty/a", "_manifests/first", "_manifests/second"):
        bucket.blob(name).upload_from_string(b"x")
    bucket.blob("_manifests/first").delete()
    copied = bucket.copy_blob(bucket.blob("raw/_manifests/a"), bucket, "_manifests/copied")
    expected = {"_manifests/first", "_manifests/second", copied.name}
    names: list[str] = []
    while set(names) != expected:
        received = pubsub.pull(subscription)
        assert received, f"only {names} were announced"
        pubsub.ack(subscription, received)
        names += [r.message.attributes["objectId"] for r in received]
    assert sorted(names) == sorted(expected)


def test_rejected_write_is_not_announced(pubsub: PubSub, bucket: storage.Bucket) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    announce(bucket, topic)
    bucket.blob("a").upload_from_string(b"x", if_generation_match=0)
    with pytest.raises(Exception, match="pre-conditions"):
        bucket.blob("a").upload_from_string(b"y", if_generation_match=0)
    bucket.blob("b").upload_from_string(b"x")
    names = pubsub.drain(subscription, until=lambda texts: len(texts) == 2)
    assert sorted(json.loads(text)["name"] for text in names) == ["a", "b"]


def test_notification_is_listed_and_deleted(pubsub: PubSub, bucket: storage.Bucket) -> None:
    topic = pubsub.topic()
    subscription, notification = pubsub.subscription(topic), announce(bucket, topic, blob_name_prefix="x/")
    (listed,) = bucket.list_notifications()
    assert (listed.notification_id, listed.topic_name) == (notification.notification_id, topic.split("/")[-1])
    assert (listed.blob_name_prefix, listed.event_types) == ("x/", ["OBJECT_FINALIZE"])
    assert bucket.get_notification(notification.notification_id).topic_project == PROJECT
    notification.delete()
    with pytest.raises(NotFound):
        bucket.get_notification(notification.notification_id)
    bucket.blob("x/a").upload_from_string(b"x")
    announce(bucket, topic)
    bucket.blob("x/b").upload_from_string(b"x")
    assert only_notification(pubsub, subscription)[0]["objectId"] == "x/b"


def test_recreated_bucket_has_no_notifications(pubsub: PubSub, bucket: storage.Bucket) -> None:
    announce(bucket, pubsub.topic())
    bucket.delete()
    bucket.create()
    assert list(bucket.list_notifications()) == []


def test_upload_is_announced_after_pubsub_is_back(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "pubsub"
    with server("storage", tmp_path / "storage", "--pubsub", f"127.0.0.1:{port}") as storage_port:
        bucket = storage_client(storage_port).create_bucket("lake-bucket")
        with killable("pubsub", state, port=port) as (_, kill):
            pubsub = PubSub(port)
            topic = pubsub.topic()
            subscription = pubsub.subscription(topic)
            announce(bucket, topic)
            bucket.blob("before").upload_from_string(b"x")
            assert only_notification(pubsub, subscription)[0]["objectId"] == "before"
            kill()
        for number in range(3):
            bucket.blob(f"down/{number}").upload_from_string(b"x")
        with server("pubsub", state, port=port):
            texts = PubSub(port).drain(subscription, until=lambda texts: len(texts) == 3)
    assert sorted(json.loads(text)["name"] for text in texts) == ["down/0", "down/1", "down/2"]


def test_killed_server_announces_all_uploads(pubsub: PubSub, tmp_path: Path) -> None:
    state, topic = tmp_path / "storage", pubsub.topic()
    subscription = pubsub.subscription(topic)
    with killable("storage", state, "--pubsub", pubsub.address) as (port, kill):
        bucket = storage_client(port).create_bucket("lake-bucket")
        announce(bucket, topic)

        def write(thread: int, number: int) -> str:
            bucket.blob(name := f"{thread}/{number}").upload_from_string(b"x", retry=None, timeout=5)
            return name

        acknowledged = set(write_until_killed(write, kill, least=20))
    with server("storage", state, "--pubsub", pubsub.address):
        texts = pubsub.drain(subscription, until=lambda texts: {json.loads(t)["name"] for t in texts} >= acknowledged)
    assert len({json.loads(text)["generation"] for text in texts}) == len(texts)
