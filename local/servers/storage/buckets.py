"""Buckets and their settings: versioning, lifecycle, retention, holds by default, labels."""

import base64
import json
import re
import sqlite3
from datetime import UTC, datetime

from local.servers.sqlite import transaction
from local.servers.storage.rules import Json, Preconditions, StorageError, check_bucket_change

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
SETTABLE = (
    "versioning",
    "lifecycle",
    "labels",
    "retentionPolicy",
    "defaultEventBasedHold",
    "storageClass",
    "cors",
    "website",
    "iamConfiguration",
    "softDeletePolicy",
    "location",
    "locationType",
)


class Buckets:
    """All buckets of a server."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, name: str) -> Json:
        """A bucket's resource."""
        row = self._db.execute("SELECT body FROM buckets WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise StorageError(404, "notFound", "The specified bucket does not exist.")
        return dict(json.loads(row[0]))

    def list(self, prefix: str = "") -> list[Json]:
        """All buckets whose names begin with a prefix."""
        buckets = [json.loads(body) for (body,) in self._db.execute("SELECT body FROM buckets ORDER BY name")]
        return [bucket for bucket in buckets if bucket["name"].startswith(prefix)]

    def add(self, body: Json) -> Json:
        """Make a bucket."""
        name, now = str(body.get("name") or ""), timestamp()
        if not NAME.fullmatch(name):
            raise StorageError(400, "invalid", f"Invalid bucket name: '{name}'")
        body = {key: body[key] for key in SETTABLE if key in body}
        bucket = (
            {"location": "LOCAL", "storageClass": "STANDARD", "softDeletePolicy": {}}
            | body
            | {
                "kind": "storage#bucket",
                "id": name,
                "name": name,
                "metageneration": "1",
                "timeCreated": now,
                "updated": now,
                "etag": etag(1),
            }
        )
        _begin_retention(bucket, {}, now)
        row = (name, json.dumps(bucket))
        if not self._db.execute("INSERT OR IGNORE INTO buckets VALUES (?, ?)", row).rowcount:
            raise StorageError(409, "conflict", "Your previous request to create the named bucket succeeded.")
        return bucket

    def change(self, name: str, changes: Json, query: dict[str, str]) -> Json:
        """Change a bucket's settings; null removes one, labels are merged."""
        current = self.get(name)
        Preconditions.of(query).check(current)
        changes = {key: value for key, value in changes.items() if key in SETTABLE}
        if changes.get("labels"):
            labels = current.get("labels", {}) | changes["labels"]
            changes["labels"] = {key: value for key, value in labels.items() if value is not None}
        now = timestamp()
        changed = {key: value for key, value in (current | changes).items() if value is not None}
        _begin_retention(changed, current, now)
        check_bucket_change(current, changed)
        return self._put(changed, now)

    def lock(self, name: str, query: dict[str, str]) -> Json:
        """Lock a bucket's retention policy for ever."""
        bucket = self.get(name)
        if "ifMetagenerationMatch" not in query:
            raise StorageError(400, "required", "to lock a retention policy, ifMetagenerationMatch is required")
        Preconditions.of(query).check(bucket)
        if not bucket.get("retentionPolicy"):
            raise StorageError(400, "invalid", f"{name} has no retention policy to lock")
        bucket["retentionPolicy"]["isLocked"] = True
        return self._put(bucket, timestamp())

    def _put(self, bucket: Json, now: str) -> Json:
        metageneration = int(bucket["metageneration"]) + 1
        bucket |= {"metageneration": str(metageneration), "updated": now, "etag": etag(metageneration)}
        self._db.execute("UPDATE buckets SET body = ? WHERE name = ?", (json.dumps(bucket), bucket["name"]))
        return bucket

    def drop(self, name: str, query: dict[str, str]) -> None:
        """Delete an empty bucket with its notifications."""
        Preconditions.of(query).check(self.get(name))
        if self._db.execute("SELECT 1 FROM generations WHERE bucket = ? LIMIT 1", (name,)).fetchone():
            raise StorageError(409, "conflict", "The bucket you tried to delete is not empty.")
        with transaction(self._db):
            self._db.execute("DELETE FROM notifications WHERE bucket = ?", (name,))
            self._db.execute("DELETE FROM buckets WHERE name = ?", (name,))


def _begin_retention(bucket: Json, before: Json, now: str) -> None:
    """Complete a retention policy that is new or of another length."""
    policy, old = bucket.get("retentionPolicy"), before.get("retentionPolicy") or {}
    if not policy or not policy.get("retentionPeriod"):
        bucket.pop("retentionPolicy", None)
    elif policy.get("retentionPeriod") != old.get("retentionPeriod"):
        period = str(policy["retentionPeriod"])
        bucket["retentionPolicy"] = old | {"retentionPeriod": period, "effectiveTime": now}


def etag(number: int) -> str:
    """Return the HTTP entity tag of a metageneration."""
    return base64.b64encode(str(number).encode()).decode()


def timestamp(at: datetime | None = None) -> str:
    """Return a time, now by default, in the format of resources."""
    return (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
