"""Object versions in Cloud Storage: listed, read, restored, deleted permanently, and announced."""

from typing import Any

import pytest
from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed
from google.cloud import storage

from tests.support.clients import PROJECT, PubSub, put, unique

pytest_plugins = ["tests.support.stand_ins"]


@pytest.fixture
def versioned(announcing_storage: storage.Client) -> storage.Bucket:
    """Return a new bucket with versioning."""
    bucket = announcing_storage.bucket(unique("bucket"))
    bucket.versioning_enabled = True
    bucket.create()
    return bucket


def versions(bucket: storage.Bucket, **settings: Any) -> list[tuple[str, int]]:
    return [(blob.name, blob.generation) for blob in bucket.list_blobs(versions=True, **settings)]


def test_versioning_keeps_old_generations(versioned: storage.Bucket) -> None:
    first, second = put(versioned, "a", b"1").generation, put(versioned, "a", b"2").generation
    assert versions(versioned) == [("a", first), ("a", second)]
    assert [blob.generation for blob in versioned.list_blobs()] == [second]
    assert versioned.blob("a").download_as_bytes() == b"2"
    assert versioned.blob("a", generation=first).download_as_bytes() == b"1"
    old = versioned.get_blob("a", generation=first)
    assert old.time_deleted is not None
    assert old.metageneration == 1
    versioned.blob("a").delete()
    assert list(versioned.list_blobs()) == []
    assert versioned.get_blob("a") is None
    with pytest.raises(NotFound):
        versioned.blob("a").delete()
    assert versioned.blob("a", generation=second).download_as_bytes() == b"2"
    restored = versioned.copy_blob(versioned.blob("a"), versioned, "a", source_generation=first)
    assert versioned.blob("a").download_as_bytes() == b"1"
    assert restored.generation > second


def test_generation_is_deleted_permanently(versioned: storage.Bucket) -> None:
    first, second = put(versioned, "a", b"1").generation, put(versioned, "a", b"2").generation
    versioned.blob("a", generation=first).delete()
    assert versions(versioned) == [("a", second)]
    with pytest.raises(NotFound):
        versioned.blob("a", generation=first).download_as_bytes()
    with pytest.raises(PreconditionFailed):
        versioned.blob("a", generation=second).delete(if_metageneration_match=7)
    versioned.blob("a", generation=second).delete()
    assert versions(versioned) == []


def test_create_once_checks_live_generation_only(versioned: storage.Bucket) -> None:
    put(versioned, "a", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        put(versioned, "a", if_generation_match=0)
    versioned.blob("a").delete()
    again = put(versioned, "a", b"again", if_generation_match=0)
    assert len(versions(versioned)) == 2
    assert versioned.get_blob("a").generation == again.generation


def test_list_of_versions_is_paged_with_prefixes(versioned: storage.Bucket) -> None:
    generations = [(name, put(versioned, name).generation) for name in ("a", "b/1", "b/2", "c") for _ in range(3)]
    assert versions(versioned, page_size=2) == generations
    assert versions(versioned, prefix="b/") == generations[3:9]
    folders = versioned.list_blobs(versions=True, delimiter="/", page_size=2)
    assert [(blob.name, blob.generation) for blob in folders] == generations[:3] + generations[9:]
    assert folders.prefixes == {"b/"}


def test_disabled_versioning_keeps_old_versions(versioned: storage.Bucket) -> None:
    first, second = put(versioned, "a").generation, put(versioned, "a").generation
    versioned.versioning_enabled = False
    versioned.patch()
    third = put(versioned, "a").generation
    assert versions(versioned) == [("a", first), ("a", third)]
    assert second not in {generation for _, generation in versions(versioned)}
    versioned.blob("a").delete()
    with pytest.raises(Conflict):
        versioned.delete()
    versioned.delete(force=True)


def test_old_generation_metadata_can_be_changed(versioned: storage.Bucket) -> None:
    first = put(versioned, "a")
    live = put(versioned, "a")
    old = versioned.get_blob("a", generation=first.generation)
    old.metadata = {"why": "audit"}
    old.patch(if_metageneration_match=1)
    assert versioned.get_blob("a", generation=first.generation).metadata == {"why": "audit"}
    assert versioned.get_blob("a").generation == live.generation
    assert versioned.get_blob("a").metadata is None


def notifications_of(pubsub: PubSub, bucket: storage.Bucket, act: Any, count: int) -> list[dict[str, str]]:
    """Return the attributes of the notifications of an act, in the order of their publication."""
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    bucket.notification(topic.split("/")[-1], topic_project=PROJECT, payload_format="NONE").create()
    act()
    messages: list[Any] = []
    while len(messages) < count:
        received = pubsub.pull(subscription)
        assert received, f"only {messages}"
        pubsub.ack(subscription, received)
        messages += [r.message for r in received]
    assert pubsub.due(subscription) == []
    attributes = ("eventType", "objectGeneration", "overwroteGeneration", "overwrittenByGeneration")
    ordered = sorted(messages, key=lambda message: int(message.message_id))
    return [{key: m.attributes[key] for key in attributes if key in m.attributes} for m in ordered]


def test_versions_are_announced_as_archived(pubsub: PubSub, versioned: storage.Bucket) -> None:
    first, second = str(put(versioned, "a").generation), ""

    def act() -> None:
        nonlocal second
        second = str(put(versioned, "a").generation)
        versioned.blob("a").delete()
        versioned.blob("a", generation=int(first)).delete()

    assert notifications_of(pubsub, versioned, act, 4) == [
        {"eventType": "OBJECT_ARCHIVE", "objectGeneration": first, "overwrittenByGeneration": second},
        {"eventType": "OBJECT_FINALIZE", "objectGeneration": second, "overwroteGeneration": first},
        {"eventType": "OBJECT_ARCHIVE", "objectGeneration": second},
        {"eventType": "OBJECT_DELETE", "objectGeneration": first},
    ]


def test_without_versions_replaced_is_deleted(pubsub: PubSub, bucket: storage.Bucket) -> None:
    first, second = str(put(bucket, "a").generation), ""

    def act() -> None:
        nonlocal second
        blob = put(bucket, "a")
        second = str(blob.generation)
        blob.metadata = {"k": "v"}
        blob.patch()

    assert notifications_of(pubsub, bucket, act, 3) == [
        {"eventType": "OBJECT_DELETE", "objectGeneration": first, "overwrittenByGeneration": second},
        {"eventType": "OBJECT_FINALIZE", "objectGeneration": second, "overwroteGeneration": first},
        {"eventType": "OBJECT_METADATA_UPDATE", "objectGeneration": second},
    ]
