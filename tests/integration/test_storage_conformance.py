"""Cloud Storage as real platforms use it: settings, lifecycle, holds, retention, compose, batches, signed URLs."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core.exceptions import BadRequest, Forbidden, NotFound, PreconditionFailed
from google.cloud import storage
from google.oauth2.service_account import Credentials

from local.servers.identity.tokens import identity_of, service_account
from local.servers.storage.index import Index
from tests.support.clients import PROJECT, put, storage_client, unique
from tests.support.servers import server

pytest_plugins = ["tests.support.stand_ins"]
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("hold", ["temporary_hold", "event_based_hold"])
@pytest.mark.parametrize("keeps_versions", [False, True])
def test_held_object_cannot_be_changed_or_deleted(bucket: storage.Bucket, hold: str, keeps_versions: bool) -> None:
    bucket.versioning_enabled = keeps_versions
    bucket.patch()
    blob = put(bucket, "held", b"kept")
    setattr(blob, hold, True)
    blob.patch()
    other = put(bucket, "other", b"new")
    acts = [
        lambda: put(bucket, "held"),
        lambda: bucket.blob("held").delete(),
        lambda: bucket.blob("held", generation=blob.generation).delete(),
        lambda: bucket.copy_blob(other, bucket, "held"),
        lambda: bucket.blob("held").compose([other]),
        lambda: bucket.blob("held").create_resumable_upload_session(),
    ]
    for act in acts:
        with pytest.raises(Forbidden, match="hold"):
            act()
    assert bucket.blob("held").download_as_bytes() == b"kept"
    copied = bucket.copy_blob(blob, bucket, "copy")
    assert not getattr(bucket.get_blob("copy"), hold)
    copied.delete()
    setattr(blob, hold, False)
    blob.patch()
    put(bucket, "held", b"free")
    assert bucket.blob("held").download_as_bytes() == b"free"


def test_bucket_may_hold_its_new_objects(bucket: storage.Bucket) -> None:
    bucket.default_event_based_hold = True
    bucket.patch()
    blob = put(bucket, "a")
    assert bucket.get_blob("a").event_based_hold
    with pytest.raises(Forbidden):
        blob.delete()


def test_locked_retention_policy_only_grows(bucket: storage.Bucket) -> None:
    blob = put(bucket, "a")
    bucket.retention_period = 3600
    bucket.patch()
    expires = bucket.get_blob("a").retention_expiration_time
    assert abs(expires - bucket.get_blob("a").time_created - HOUR) < timedelta(seconds=1)
    with pytest.raises(Forbidden, match="retention"):
        blob.delete()
    with pytest.raises(Forbidden, match="retention"):
        put(bucket, "a")
    bucket.reload()
    bucket.lock_retention_policy()
    assert bucket.retention_policy_locked
    bucket.retention_period = 1800
    with pytest.raises(Forbidden):
        bucket.patch()
    bucket.retention_period = 7200
    bucket.patch()
    bucket.reload()
    assert (bucket.retention_period, bucket.retention_policy_locked) == (7200, True)


def test_bucket_keeps_settings_and_preconditions(bucket: storage.Bucket) -> None:
    rules, own = [dict(rule) for rule in bucket.lifecycle_rules], dict(bucket.labels)  # `make cloud-smoke` gives some
    bucket.add_lifecycle_delete_rule(age=30, matches_prefix=["raw/"])
    bucket.labels = own | {"team": "lake", "old": "x"}
    bucket.patch()
    bucket_read = bucket.client.get_bucket(bucket.name)
    assert [dict(rule) for rule in bucket_read.lifecycle_rules] == [
        *rules,
        {"action": {"type": "Delete"}, "condition": {"age": 30, "matchesPrefix": ["raw/"]}},
    ]
    assert bucket_read.labels == own | {"team": "lake", "old": "x"}
    assert bucket_read.metageneration == 2
    del_label = dict(bucket_read.labels)
    del del_label["old"]
    bucket_read.labels = del_label
    bucket_read.patch(if_metageneration_match=2)
    with pytest.raises(PreconditionFailed):
        bucket_read.patch(if_metageneration_match=2)
    bucket_read.clear_lifecycle_rules()
    bucket_read.patch()
    again = bucket.client.get_bucket(bucket.name)
    assert (list(again.lifecycle_rules), again.labels) == ([], own | {"team": "lake"})


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Return the server's state without its server, so that time can pass."""
    opened = Index(tmp_path / "state", "http://127.0.0.1:1")
    opened.buckets.add({"name": "lake", "versioning": {"enabled": True}})
    yield opened
    opened.db.close()


def sweep(index: Index, rules: list[dict[str, Any]], after: timedelta) -> list[str]:
    """Return the remaining objects, noncurrent generations with an asterisk."""
    index.buckets.change("lake", {"lifecycle": {"rule": rules}}, {})
    index.sweep(datetime.now(UTC) + after)
    return [r["name"] + "*" * ("timeDeleted" in r) for r in index.resources("lake", "", "", versions=True)]


def rule(**condition: Any) -> list[dict[str, Any]]:
    return [{"action": {"type": "Delete"}, "condition": condition}]


ALL = ["a*", "a*", "a", "tmp/b"]


@pytest.mark.parametrize(
    ("rules", "days", "left"),
    [
        (rule(age=30), 29, ALL),
        (rule(age=30), 31, ["a*", "tmp/b*"]),
        (rule(numNewerVersions=2), 0, ["a*", "a", "tmp/b"]),
        (rule(numNewerVersions=1, isLive=False), 0, ["a", "tmp/b"]),
        (rule(isLive=True), 0, ["a*", "a*", "a*", "tmp/b*"]),
        (rule(age=1, matchesPrefix=["tmp/"]), 2, ["a*", "a*", "a", "tmp/b*"]),
        (rule(age=1, matchesSuffix=["z"]), 9, ALL),
        (rule(daysSinceNoncurrentTime=3), 4, ["a", "tmp/b"]),
        (rule(createdBefore="2020-01-01"), 0, ALL),
        (rule(unknown=1, age=1), 9, ALL),
        (rule(), 9, ALL),
        ([{"action": {"type": "SetStorageClass"}, "condition": {"age": 1}}], 9, ALL),
    ],
)
def test_lifecycle_rules_delete_matching_objects(index: Index, rules: Any, days: int, left: list[str]) -> None:
    for name in ("a", "a", "a", "tmp/b"):
        index.put("lake", {"name": name}, b"x", {})
    assert sweep(index, rules, timedelta(days=days)) == left


def test_lifecycle_rule_spares_held_objects(index: Index) -> None:
    index.put("lake", {"name": "held", "temporaryHold": True}, b"x", {})
    index.put("lake", {"name": "free"}, b"x", {})
    assert sweep(index, rule(age=1), timedelta(days=2)) == ["free*", "held"]
    assert sweep(index, rule(age=1), timedelta(days=2)) == ["held"]
    assert len(list((index.path({"generation": "1"}).parent).iterdir())) == 1


def test_composed_object_has_its_sources_in_order(bucket: storage.Bucket) -> None:
    sources = [put(bucket, f"part/{n}", bytes([n]) * 70_000) for n in range(3)]
    whole = bucket.blob("whole")
    whole.content_type = "application/x-whole"
    whole.compose(sources, if_generation_match=0)
    assert whole.download_as_bytes() == b"".join(bytes([n]) * 70_000 for n in range(3))
    composed = bucket.get_blob("whole")
    assert (composed.component_count, composed.md5_hash, composed.content_type) == (3, None, "application/x-whole")
    whole.compose([whole, sources[0]], if_generation_match=whole.generation)
    assert (whole.size, bucket.get_blob("whole").component_count) == (280_000, 4)


def test_compose_checks_preconditions_and_limits(bucket: storage.Bucket) -> None:
    source = put(bucket, "part")
    whole = bucket.blob("whole")
    with pytest.raises(PreconditionFailed):
        whole.compose([source], if_source_generation_match=[source.generation + 1])
    with pytest.raises(NotFound):
        whole.compose([source, bucket.blob("none")])
    with pytest.raises(BadRequest):
        whole.compose([source] * 33)
    put(bucket, "whole", b"there")
    with pytest.raises(PreconditionFailed):
        whole.compose([source], if_generation_match=0)
    assert bucket.blob("whole").download_as_bytes() == b"there"


def test_batch_request_checks_preconditions(bucket: storage.Bucket) -> None:
    blobs = [put(bucket, f"ü {n}") for n in range(3)]
    with bucket.client.batch(raise_exception=False) as batch:
        blobs[0].metadata = {"k": "ü"}
        blobs[0].patch(if_metageneration_match=1)
        blobs[1].delete(if_generation_match=blobs[1].generation + 1)
        blobs[2].delete(if_generation_match=blobs[2].generation)
    assert [answer.status_code for answer in batch._responses] == [200, 412, 204]
    assert bucket.get_blob("ü 0").metadata == {"k": "ü"}
    assert sorted(blob.name for blob in bucket.list_blobs()) == ["ü 0", "ü 1"]


@pytest.fixture
def signing(identity: tuple[int, Path], tmp_path: Path) -> Iterator[tuple[storage.Bucket, Credentials]]:
    """Return a bucket of a server with the local identity, and credentials with its key."""
    with server("storage", tmp_path / "state", "--identity", str(identity[1])) as port:
        account = service_account(identity_of(identity[1]), PROJECT, f"http://127.0.0.1:{identity[0]}/token")
        yield storage_client(port).create_bucket(unique("bucket")), Credentials.from_service_account_info(account)


def test_signed_url_allows_only_its_request(
    signing: tuple[storage.Bucket, Credentials],
) -> None:
    bucket, credentials = signing
    blob = bucket.blob("raw/ü b.json")

    def url(method: str, **settings: Any) -> str:
        options = {"version": "v4", "expiration": HOUR, "credentials": credentials} | settings
        return str(blob.generate_signed_url(method=method, api_access_endpoint=base, **options))

    base = bucket.client._connection.API_BASE_URL
    kind = {"content-type": "application/json"}
    written = requests.put(url("PUT", content_type=kind["content-type"]), b'{"a": 1}', headers=kind)
    assert written.status_code == 200, written.text
    assert bucket.get_blob(blob.name).content_type == "application/json"
    read = requests.get(url("GET", response_disposition="attachment"))
    assert (read.status_code, read.json()) == (200, {"a": 1})
    assert requests.get(url("GET"), headers={"range": "bytes=0-0"}).content == b"{"
    refused = {
        "another method": requests.put(url("GET"), b"x"),
        "another object": requests.get(url("GET").replace("raw/", "other/")),
        "another content type": requests.put(url("PUT", content_type="a/b"), b"x", headers=kind),
        "another signature": requests.get(url("GET")[:-8] + "00000000"),
    }
    assert {reason: answer.status_code for reason, answer in refused.items()} == dict.fromkeys(refused, 403)
    past = datetime.now(UTC).replace(tzinfo=None) - 2 * HOUR
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "google.cloud.storage._signing.get_v4_now_dtstamps", lambda: (f"{past:%Y%m%dT%H%M%SZ}", f"{past:%Y%m%d}")
        )
        expired = requests.get(url("GET"))
    assert (expired.status_code, expired.json()["error"]["errors"][0]["reason"]) == (400, "ExpiredToken")
    assert bucket.blob(blob.name).download_as_bytes() == b'{"a": 1}'


def test_older_index_version_is_migrated(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "objects").mkdir(parents=True)
    (state / "objects" / "7.bin").write_bytes(b"kept")
    resource = {
        "name": "a",
        "bucket": "old-bucket",
        "generation": "7",
        "metageneration": "1",
        "size": "4",
        "md5Hash": "x",
        "crc32c": "x",
        "etag": "x",
        "timeCreated": "2026-01-01T00:00:00.000Z",
        "storageClass": "STANDARD",
    }
    with sqlite3.connect(state / "index.sqlite") as db:
        db.executescript(
            "CREATE TABLE buckets (name TEXT PRIMARY KEY, body TEXT NOT NULL);"
            "CREATE TABLE objects (bucket TEXT NOT NULL, name TEXT NOT NULL, generation INTEGER NOT NULL,"
            " body TEXT NOT NULL, PRIMARY KEY (bucket, name));"
        )
        bucket = {"name": "old-bucket", "metageneration": "1", "storageClass": "STANDARD"}
        db.execute("INSERT INTO buckets VALUES (?, ?)", ("old-bucket", json.dumps(bucket)))
        db.execute("INSERT INTO objects VALUES (?, ?, ?, ?)", ("old-bucket", "a", 7, json.dumps(resource)))
    for expected in (b"kept", b"new"):
        with server("storage", state) as port:
            bucket = storage_client(port).bucket("old-bucket")
            assert bucket.blob("a").download_as_bytes(checksum=None) == expected
            put(bucket, "a", b"new")
