"""Objects and uploads: a SQLite index over one file per generation.

An object becomes visible, whole, with one transaction that also writes its announcements: a kill loses neither.
"""

import base64
import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import google_crc32c

from local.servers.sqlite import open_database, transaction
from local.servers.storage.announce import announce
from local.servers.storage.buckets import Buckets, etag, timestamp
from local.servers.storage.lifecycle import doomed
from local.servers.storage.rules import HOLDS, Json, Preconditions, StorageError, check_removable, retained_until
from local.servers.storage.schema import FROM_1, OLD_TABLE, SCHEMA

CHUNK = 1 << 20
LIVE = "SELECT body FROM generations WHERE bucket = ? AND name = ? AND live = 1"
ONE = "SELECT body FROM generations WHERE bucket = ? AND name = ? AND generation = ?"
DESCRIBING = ("contentType", "metadata", "cacheControl", "contentDisposition", "contentEncoding", "contentLanguage")
SETTABLE = (*DESCRIBING, "customTime", "storageClass", *HOLDS)


class Index:
    """All state of the server; one process owns it."""

    def __init__(self, state: Path, base_url: str) -> None:
        self._files, self._base = state / "objects", base_url
        self._files.mkdir(parents=True, exist_ok=True)
        self.db = open_database(state / "index.sqlite", SCHEMA, OLD_TABLE, FROM_1)
        self.buckets = Buckets(self.db)
        self._remove_unknown()

    def _remove_unknown(self) -> None:
        """Remove files that a killed server wrote and never made visible."""
        names = {f"{g}.bin" for (g,) in self.db.execute("SELECT generation FROM generations")}
        names |= {f"{u}.part" for (u,) in self.db.execute("SELECT id FROM uploads")}
        for path in self._files.iterdir():
            if path.name not in names:
                path.unlink()

    def find(self, bucket: str, name: str, generation: str | None = None) -> Json | None:
        """The resource of an object, or of one of its generations."""
        if generation:
            row = self.db.execute(ONE, (bucket, name, generation)).fetchone()
        else:
            row = self.db.execute(LIVE, (bucket, name)).fetchone()
        return self._linked(row[0]) if row else None

    def get(self, bucket: str, name: str, query: dict[str, str], *, reading: bool = True) -> Json:
        """Return an object's resource if it exists and meets the query's preconditions."""
        resource = self.find(bucket, name, query.get("generation"))
        if resource is None:
            self.buckets.get(bucket)
            raise StorageError(404, "notFound", f"No such object: {bucket}/{name}")
        Preconditions.of(query).check(resource, reading=reading)
        return resource

    def path(self, resource: Json) -> Path:
        """File that holds a generation's bytes."""
        return self._files / f"{resource['generation']}.bin"

    def part(self, upload: str) -> Path:
        """File that collects a resumable upload."""
        return self._files / f"{upload}.part"

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A file that is removed in the end, also after a kill."""
        path = self.part(uuid.uuid4().hex)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def put(self, bucket: str, body: Json, content: bytes | Path, query: dict[str, str], upload: str = "") -> Json:
        """Write an object whole; it replaces the existing one when the preconditions hold.

        What `upload` made is remembered with it: a last chunk that is sent again gets the same answer.
        """
        settings, name = self.buckets.get(bucket), str(body["name"])
        self._check_replaced(settings, self.find(bucket, name), query)
        size, checks = checksums(content)
        for field, value in checks.items():
            if body.get(field) and body[field] != value:
                raise StorageError(400, "invalid", f"{field} is {value}, but the request says {body[field]}")
        generation = self._next_generation()
        file = self._files / f"{generation}.bin"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.hardlink_to(content)  # the upload keeps its part until the object is visible
        now = timestamp()
        resource: Json = {"storageClass": settings["storageClass"]}
        if settings.get("defaultEventBasedHold"):
            resource["eventBasedHold"] = True
        resource |= {key: body[key] for key in SETTABLE if body.get(key) is not None}
        resource |= {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{generation}",
            "name": name,
            "bucket": bucket,
            "generation": str(generation),
            "metageneration": "1",
            "size": str(size),
            "timeCreated": now,
            "updated": now,
            "etag": etag(generation),
            **checks,
        }
        if count := body.get("componentCount"):
            resource["componentCount"] = count
            del resource["md5Hash"]  # a composed object has none at Google
        return self._show(settings, resource, upload)

    def _check_replaced(self, settings: Json, old: Json | None, query: dict[str, str]) -> None:
        Preconditions.of(query).check(old)
        if old:
            check_removable(settings, old, datetime.now(UTC))

    def _show(self, settings: Json, resource: Json, upload: str) -> Json:
        bucket, name, generation = resource["bucket"], resource["name"], resource["generation"]
        text, shown = json.dumps(resource), self._linked(json.dumps(resource))
        with transaction(self.db):
            old = self.find(bucket, name)
            if old:
                self._remove(settings, old, {"overwrittenByGeneration": generation})
            row = (bucket, name, int(generation), text)
            self.db.execute("INSERT INTO generations VALUES (?, ?, ?, 1, ?)", row)
            overwrote = {"overwroteGeneration": old["generation"]} if old else {}
            announce(self.db, "OBJECT_FINALIZE", shown, timestamp(), overwrote)
            if upload:
                self.db.execute("DELETE FROM uploads WHERE id = ?", (upload,))
                self.db.execute("INSERT INTO finished VALUES (?, ?)", (upload, text))
        if upload:
            self.part(upload).unlink(missing_ok=True)
        self._unlink(settings, old)
        return shown

    def _remove(self, settings: Json, resource: Json, attributes: dict[str, str], *, for_good: bool = False) -> None:
        """Make a live object noncurrent where versions are kept, else delete it; within the caller's transaction."""
        key = (resource["bucket"], resource["name"], int(resource["generation"]))
        if for_good or not is_versioned(settings):
            self.db.execute("DELETE FROM generations WHERE bucket = ? AND name = ? AND generation = ?", key)
            announce(self.db, "OBJECT_DELETE", resource, timestamp(), attributes)
            return
        resource["timeDeleted"] = timestamp()
        self.db.execute(
            "UPDATE generations SET live = 0, body = ? WHERE bucket = ? AND name = ? AND generation = ?",
            (json.dumps(resource), *key),
        )
        announce(self.db, "OBJECT_ARCHIVE", resource, timestamp(), attributes)

    def _unlink(self, settings: Json, resource: Json | None, *, for_good: bool = False) -> None:
        if resource and (for_good or not is_versioned(settings)):
            self.path(resource).unlink(missing_ok=True)

    def drop(self, bucket: str, name: str, query: dict[str, str]) -> None:
        """Delete an object, which stays as noncurrent in a versioned bucket, or delete a generation permanently."""
        for_good = "generation" in query
        resource = self.get(bucket, name, query, reading=False)
        settings = self.buckets.get(bucket)
        check_removable(settings, resource, datetime.now(UTC))
        with transaction(self.db):
            self._remove(settings, resource, {}, for_good=for_good)
        self._unlink(settings, resource, for_good=for_good)

    def patch(self, bucket: str, name: str, changes: Json, query: dict[str, str]) -> Json:
        """Change the metadata of an object or a generation; null removes a field."""
        resource = self.get(bucket, name, query, reading=False)
        metadata = {**resource.get("metadata", {}), **(changes.get("metadata") or {})}
        changes = {key: value for key, value in changes.items() if key in SETTABLE}
        resource |= changes | {"metageneration": str(int(resource["metageneration"]) + 1), "updated": timestamp()}
        resource["metadata"] = {key: value for key, value in metadata.items() if value is not None}
        resource = {key: value for key, value in resource.items() if value is not None}
        with transaction(self.db):
            self.db.execute(
                "UPDATE generations SET body = ? WHERE bucket = ? AND name = ? AND generation = ?",
                (json.dumps(resource), bucket, name, resource["generation"]),
            )
            announce(self.db, "OBJECT_METADATA_UPDATE", resource, timestamp(), {})
        return resource

    def resources(
        self, bucket: str, prefix: str, start: str, end: str = "", *, versions: bool = False
    ) -> Iterator[Json]:
        """Resources in the order of names and generations, from `start` up to but without `end`."""
        settings = self.buckets.get(bucket)
        query = (
            "SELECT body FROM generations WHERE bucket = ? AND name >= ? AND name < ? AND live >= ?"
            " ORDER BY name, generation"
        )
        row = (bucket, max(prefix, start), end or prefix + "\U0010ffff", 0 if versions else 1)
        resources = (self._linked(text, settings) for (text,) in self.db.execute(query, row))
        return (resource for resource in resources if resource["name"].startswith(prefix))

    def sweep(self, now: datetime) -> int:
        """Delete the generations that the buckets' lifecycle rules delete at a time; return how many."""
        count = 0
        for settings in self.buckets.list():
            rules = (settings.get("lifecycle") or {}).get("rule") or []
            resources = self.resources(settings["name"], "", "", versions=True) if rules else ()
            for resource in list(doomed(rules, resources, now)):
                with contextlib.suppress(StorageError):  # held or retained: it stays until it is not
                    check_removable(settings, resource, now)
                    for_good = "timeDeleted" in resource
                    with transaction(self.db):
                        self._remove(settings, resource, {}, for_good=for_good)
                    self._unlink(settings, resource, for_good=for_good)
                    count += 1
        return count

    def _linked(self, text: str, settings: Json | None = None) -> Json:
        """Return a stored resource with its retention and its addresses, which change with the port."""
        resource: Json = json.loads(text)
        path = f"storage/v1/b/{resource['bucket']}/o/{quote(resource['name'], safe='')}"
        generation = resource["generation"]
        until = retained_until(settings or self.buckets.get(resource["bucket"]), resource)
        retention = {"retentionExpirationTime": timestamp(until)} if until else {}
        return (
            resource
            | retention
            | {
                "selfLink": f"{self._base}/{path}",
                "mediaLink": f"{self._base}/download/{path}?generation={generation}&alt=media",
            }
        )

    def _next_generation(self) -> int:
        (last,) = self.db.execute("SELECT coalesce(max(generation), 0) FROM counter").fetchone()
        generation = max(last + 1, time.time_ns() // 1000)
        self.db.execute("REPLACE INTO counter VALUES (1, ?)", (generation,))
        return int(generation)

    def add_upload(self, bucket: str, body: Json, query: dict[str, str]) -> str:
        """Begin a resumable upload."""
        self._check_replaced(self.buckets.get(bucket), self.find(bucket, str(body["name"])), query)
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
        """Return the object of a finished resumable upload, None before its end."""
        row = self.db.execute("SELECT body FROM finished WHERE upload = ?", (upload,)).fetchone()
        return self._linked(row[0]) if row else None

    def drop_upload(self, upload: str) -> None:
        """Forget an upload."""
        self.db.execute("DELETE FROM uploads WHERE id = ?", (upload,))
        self.part(upload).unlink(missing_ok=True)


def is_versioned(settings: Json) -> bool:
    """Return True when a bucket keeps noncurrent generations."""
    return bool((settings.get("versioning") or {}).get("enabled"))


def checksums(content: bytes | Path) -> tuple[int, dict[str, str]]:
    """Return the size, and `md5Hash` and `crc32c` in the encoding of resources; read a file in pieces."""
    md5, crc, size = hashlib.md5(usedforsecurity=False), 0, 0
    for piece in pieces(content):
        md5.update(piece)
        crc = google_crc32c.extend(crc, piece)
        size += len(piece)
    digests = {"md5Hash": md5.digest(), "crc32c": crc.to_bytes(4, "big")}
    return size, {name: base64.b64encode(digest).decode() for name, digest in digests.items()}


def pieces(content: bytes | Path) -> Iterator[bytes]:
    """Yield the bytes of a file in pieces; bytes are yielded whole."""
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece
