"""Buckets, objects, notifications and what is still to be announced: a SQLite index over one file per generation.

An object becomes visible, whole, with one transaction that also writes its announcements: a kill loses neither.
"""

import base64
import contextlib
import hashlib
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import google_crc32c

Json = dict[str, Any]
SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
  bucket TEXT NOT NULL, name TEXT NOT NULL, generation INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (bucket, name));
CREATE TABLE IF NOT EXISTS notifications (
  id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, attributes TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, bucket TEXT NOT NULL, body TEXT NOT NULL, query TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS finished (upload TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL);
"""
SETTABLE = ("contentType", "metadata", "cacheControl", "contentDisposition", "contentEncoding", "contentLanguage")


class StorageError(Exception):
    """An answer other than 2xx."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Preconditions:
    """What must hold of the object that is there (0: none) for a request to be carried out."""

    values: dict[str, int]

    @classmethod
    def of(cls, query: dict[str, str], prefix: str = "if") -> "Preconditions":
        """Those that a query has."""
        wanted = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        return cls({name: int(query[prefix + name]) for name in wanted if prefix + name in query})

    def check(self, there: Json | None, *, reading: bool = False) -> None:
        """Raise StorageError 412, or 304 for a read whose `NotMatch` fails."""
        for name, wanted in self.values.items():
            field = "metageneration" if name.startswith("Meta") else "generation"
            actual = int(there[field]) if there else 0
            if (actual == wanted) == name.endswith("NotMatch"):
                if reading and name.endswith("NotMatch"):
                    raise StorageError(304, "notModified", "Not Modified")
                raise StorageError(
                    412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
                )


class Index:
    """All state of the server; one process owns it."""

    def __init__(self, state: Path, base_url: str) -> None:
        self._files, self._base = state / "objects", base_url
        self._files.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(state / "index.sqlite", isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what a killed server wrote and never made visible."""
        known = {f"{g}.bin" for (g,) in self.db.execute("SELECT generation FROM objects")}
        known |= {f"{u}.part" for (u,) in self.db.execute("SELECT id FROM uploads")}
        for path in self._files.iterdir():
            if path.name not in known:
                path.unlink()

    def bucket(self, name: str) -> Json:
        """A bucket's resource."""
        row = self.db.execute("SELECT body FROM buckets WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise StorageError(404, "notFound", "The specified bucket does not exist.")
        return dict(json.loads(row[0]))

    def buckets(self) -> list[Json]:
        """All buckets."""
        return [json.loads(body) for (body,) in self.db.execute("SELECT body FROM buckets ORDER BY name")]

    def add_bucket(self, body: Json) -> Json:
        """Make a bucket."""
        now = timestamp()
        body = body | {
            "kind": "storage#bucket", "id": body["name"], "metageneration": "1", "location": "LOCAL",
            "storageClass": "STANDARD", "timeCreated": now, "updated": now, "etag": "CAE=",
        }  # fmt: skip
        if not self.db.execute(
            "INSERT OR IGNORE INTO buckets VALUES (?, ?)", (body["name"], json.dumps(body))
        ).rowcount:
            raise StorageError(409, "conflict", "Your previous request to create the named bucket succeeded.")
        return body

    def drop_bucket(self, name: str) -> None:
        """Delete an empty bucket."""
        self.bucket(name)
        if self.db.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (name,)).fetchone():
            raise StorageError(409, "conflict", "The bucket you tried to delete is not empty.")
        with self._transaction():
            self.db.execute("DELETE FROM notifications WHERE bucket = ?", (name,))
            self.db.execute("DELETE FROM buckets WHERE name = ?", (name,))

    def find(self, bucket: str, name: str) -> Json | None:
        """An object's resource."""
        row = self.db.execute("SELECT body FROM objects WHERE bucket = ? AND name = ?", (bucket, name)).fetchone()
        return self._linked(row[0]) if row else None

    def get(self, bucket: str, name: str, query: dict[str, str]) -> Json:
        """An object's resource, if there and as the query's conditions want it."""
        there = self.find(bucket, name)
        if there is None or query.get("generation", there["generation"]) != there["generation"]:
            self.bucket(bucket)
            raise StorageError(404, "notFound", f"No such object: {bucket}/{name}")
        Preconditions.of(query).check(there, reading=True)
        return there

    def path(self, there: Json) -> Path:
        """File that holds an object's bytes."""
        return self._files / f"{there['generation']}.bin"

    def part(self, upload: str) -> Path:
        """File that collects a resumable upload."""
        return self._files / f"{upload}.part"

    def put(self, bucket: str, body: Json, content: bytes | Path, query: dict[str, str], upload: str = "") -> Json:
        """Write an object whole; it replaces the one there when the preconditions hold.

        What `upload` made is remembered with it: a last chunk that is sent again gets the same answer.
        """
        self.bucket(bucket)
        name = str(body["name"])
        Preconditions.of(query).check(self.find(bucket, name))
        generation = self._next_generation()
        file = self._files / f"{generation}.bin"
        data = content if isinstance(content, bytes) else content.read_bytes()
        checks = checksums(data)
        for field, value in checks.items():
            if body.get(field) and body[field] != value:
                raise StorageError(400, "invalid", f"{field} is {value}, but the request says {body[field]}")
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.hardlink_to(content)  # the upload keeps its part until the object is visible
        now = timestamp()
        resource = {key: body[key] for key in SETTABLE if body.get(key) is not None} | {
            "kind": "storage#object", "id": f"{bucket}/{name}/{generation}", "name": name, "bucket": bucket,
            "generation": str(generation), "metageneration": "1", "size": str(len(data)), "storageClass": "STANDARD",
            "timeCreated": now, "updated": now, "etag": base64.b64encode(str(generation).encode()).decode(), **checks,
        }  # fmt: skip
        return self._show(json.dumps(resource), upload)

    def _show(self, text: str, upload: str) -> Json:
        resource = self._linked(text)
        bucket, name = resource["bucket"], resource["name"]
        with self._transaction():
            old = self.find(bucket, name)
            row = (bucket, name, int(resource["generation"]), text)
            self.db.execute("REPLACE INTO objects VALUES (?, ?, ?, ?)", row)
            overwrote = {"overwroteGeneration": old["generation"]} if old else {}
            self._announce("OBJECT_FINALIZE", resource, overwrote)
            if upload:
                self.db.execute("DELETE FROM uploads WHERE id = ?", (upload,))
                self.db.execute("INSERT INTO finished VALUES (?, ?)", (upload, text))
        if upload:
            self.part(upload).unlink(missing_ok=True)
        if old:
            self.path(old).unlink(missing_ok=True)
        return resource

    def _linked(self, text: str) -> Json:
        """A stored resource with its addresses: they are not stored, since the server's port may change."""
        resource: Json = json.loads(text)
        path = f"storage/v1/b/{resource['bucket']}/o/{quote(resource['name'], safe='')}"
        generation = resource["generation"]
        return resource | {
            "selfLink": f"{self._base}/{path}",
            "mediaLink": f"{self._base}/download/{path}?generation={generation}&alt=media",
        }

    def patch(self, bucket: str, name: str, changes: Json, query: dict[str, str]) -> Json:
        """Change an object's metadata."""
        there = self.get(bucket, name, {})
        Preconditions.of(query).check(there)
        metadata = {**there.get("metadata", {}), **(changes.get("metadata") or {})}
        changes = {key: value for key, value in changes.items() if key in SETTABLE}
        there |= changes | {"metageneration": str(int(there["metageneration"]) + 1), "updated": timestamp()}
        there["metadata"] = {key: value for key, value in metadata.items() if value is not None}
        self.db.execute("UPDATE objects SET body = ? WHERE bucket = ? AND name = ?", (json.dumps(there), bucket, name))
        return there

    def drop(self, bucket: str, name: str, query: dict[str, str]) -> None:
        """Delete an object."""
        there = self.get(bucket, name, {k: v for k, v in query.items() if k == "generation"})
        Preconditions.of(query).check(there)
        with self._transaction():
            self.db.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
            self._announce("OBJECT_DELETE", there, {})
        self.path(there).unlink(missing_ok=True)

    def resources(self, bucket: str, prefix: str, start: str, end: str) -> Iterator[Json]:
        """Resources in the order of their names, from `start` up to but without `end`."""
        self.bucket(bucket)
        query = "SELECT body FROM objects WHERE bucket = ? AND name >= ? AND name < ? ORDER BY name"
        last = end or prefix + "\U0010ffff"
        found = (self._linked(text) for (text,) in self.db.execute(query, (bucket, max(prefix, start), last)))
        return (resource for resource in found if resource["name"].startswith(prefix))

    def _announce(self, event: str, resource: Json, more: dict[str, str]) -> None:
        rows = self.db.execute("SELECT id, body FROM notifications WHERE bucket = ?", (resource["bucket"],)).fetchall()
        for number, text in rows:
            config = json.loads(text)
            if event not in config.get("event_types", [event]):
                continue
            if not resource["name"].startswith(config.get("object_name_prefix", "")):
                continue
            attributes = {
                "notificationConfig": f"projects/_/buckets/{resource['bucket']}/notificationConfigs/{number}",
                "eventType": event, "payloadFormat": config["payload_format"], "bucketId": resource["bucket"],
                "objectId": resource["name"], "objectGeneration": resource["generation"], "eventTime": timestamp(),
                **more, **config.get("custom_attributes", {}),
            }  # fmt: skip
            data = json.dumps(resource).encode() if config["payload_format"] == "JSON_API_V1" else b""
            topic = config["topic"].removeprefix("//pubsub.googleapis.com/")
            self.db.execute(
                "INSERT INTO outbox (topic, attributes, data) VALUES (?, ?, ?)", (topic, json.dumps(attributes), data)
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def _next_generation(self) -> int:
        (last,) = self.db.execute("SELECT coalesce(max(generation), 0) FROM counter").fetchone()
        generation = max(last + 1, time.time_ns() // 1000)
        self.db.execute("REPLACE INTO counter VALUES (1, ?)", (generation,))
        return int(generation)

    def add_upload(self, bucket: str, body: Json, query: dict[str, str]) -> str:
        """Begin a resumable upload."""
        self.bucket(bucket)
        Preconditions.of(query).check(self.find(bucket, str(body["name"])))
        upload = uuid.uuid4().hex
        self.part(upload).touch()
        row = (upload, bucket, json.dumps(body), json.dumps(query))
        self.db.execute("INSERT INTO uploads VALUES (?, ?, ?, ?)", row)
        return upload

    def upload(self, upload: str) -> tuple[str, Json, dict[str, str]]:
        """Bucket, resource and query of a resumable upload."""
        row = self.db.execute("SELECT bucket, body, query FROM uploads WHERE id = ?", (upload,)).fetchone()
        if row is None:
            raise StorageError(404, "notFound", "no such upload")
        return row[0], json.loads(row[1]), json.loads(row[2])

    def finished(self, upload: str) -> Json | None:
        """What a resumable upload made, None while it goes on."""
        row = self.db.execute("SELECT body FROM finished WHERE upload = ?", (upload,)).fetchone()
        return self._linked(row[0]) if row else None

    def drop_upload(self, upload: str) -> None:
        """Forget an upload."""
        self.db.execute("DELETE FROM uploads WHERE id = ?", (upload,))
        self.part(upload).unlink(missing_ok=True)


def checksums(data: bytes) -> dict[str, str]:
    """`md5Hash` and `crc32c` as resources bear them."""
    crc = google_crc32c.value(data).to_bytes(4, "big")
    return {
        "md5Hash": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
        "crc32c": base64.b64encode(crc).decode(),
    }


def timestamp() -> str:
    """Now, as resources bear it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
