"""The lake on Cloud Storage, through Google's client."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, cast

from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed, RetryError, ServerError, TooManyRequests
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.fileio import BlobReader
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import Timeout

from millrace.access import credentials, denied, is_denied, unidentified
from millrace.domain.errors import ObjectExists, ObjectMissing, ServiceUnavailable
from millrace.lake.store import ObjectInfo, address_of

RANGE_BYTES = 1 << 20
UNREACHABLE = (ServerError, TooManyRequests, RetryError, NotConnected, Timeout)


class GcsLake:
    """A bucket on Cloud Storage, or on a server at `endpoint` with the same API."""

    def __init__(self, url: str, endpoint: str = "") -> None:
        self.url, self.endpoint = url.rstrip("/"), endpoint
        self._name = self.url.removeprefix("gs://")
        if endpoint:
            options = {"api_endpoint": endpoint}
            self._client = storage.Client("millrace", credentials=credentials(endpoint), client_options=options)
        else:
            self._client = storage.Client(credentials=credentials())
        self._bucket = self._client.bucket(self._name)

    def read(self, name: str, generation: int | None = None) -> bytes:
        """Return the bytes of an object. Raises ObjectMissing."""
        try:
            with self._converting_errors(name):
                return bytes(self._bucket.blob(name, generation=generation).download_as_bytes())
        except NotFound as error:
            raise ObjectMissing(f"{self.url}/{name}#{generation or 'newest'} does not exist") from error

    def open(self, name: str, generation: int | None = None) -> BinaryIO:
        """Return a seekable reader that fetches ranges. Raises ObjectMissing."""
        blob = self._bucket.blob(name, generation=generation)
        with self._converting_errors(name):
            exists = blob.exists()
        if not exists:
            raise ObjectMissing(f"{self.url}/{name}#{generation or 'newest'} does not exist")
        return cast(BinaryIO, _Reader(blob, self._converting_errors))

    def write(self, name: str, data: bytes, content_type: str = "application/octet-stream") -> int:
        """Write or replace an object; return its generation."""
        return self._upload(name, data, content_type, None)

    def create(self, name: str, data: bytes, content_type: str = "application/json") -> int:
        """Write an object that must not exist yet. Raises ObjectExists."""
        try:
            return self._upload(name, data, content_type, 0)
        except PreconditionFailed as error:
            raise ObjectExists(f"{self.url}/{name} exists already") from error

    def replace(self, name: str, data: bytes, generation: int, content_type: str, metadata: dict[str, str]) -> int:
        """Replace this generation of an object (0: create it); return the new one. Raises ObjectExists."""
        try:
            return self._upload(name, data, content_type, generation, metadata)
        except PreconditionFailed as error:
            raise ObjectExists(f"{self.url}/{name} is no longer generation {generation}") from error

    def address(self, name: str) -> str:
        """Return the address at which a browser opens an object, with the right to read it."""
        return address_of(self.url, self.endpoint, name)

    def _upload(
        self,
        name: str,
        data: bytes,
        content_type: str,
        if_generation_match: int | None,
        metadata: dict[str, str] | None = None,
    ) -> int:
        blob = self._bucket.blob(name)
        if metadata:
            blob.metadata = metadata
        with self._converting_errors(name, "storage.objects.create"):
            blob.upload_from_string(data, content_type=content_type, if_generation_match=if_generation_match)
        return int(blob.generation)

    def upload(self, name: str, path: str, content_type: str = "application/octet-stream") -> int:
        """Write a local file as an object; return its generation."""
        blob = self._bucket.blob(name)
        with self._converting_errors(name, "storage.objects.create"):
            blob.upload_from_filename(path, content_type=content_type)
        return int(blob.generation)

    def download(self, name: str, path: str) -> None:
        """Write an object to a local file. Raises ObjectMissing."""
        try:
            with self._converting_errors(name):
                self._bucket.blob(name).download_to_filename(path)
        except NotFound as error:
            raise ObjectMissing(f"{self.url}/{name} does not exist") from error

    def list(self, prefix: str, start: str | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects whose names have the prefix, in order, from `start` on."""
        with self._converting_errors(prefix, "storage.objects.list"):
            for blob in self._client.list_blobs(self._name, prefix=prefix, start_offset=start):
                yield _info(blob)

    def stat(self, name: str) -> ObjectInfo | None:
        """Return the metadata of an object; None when it does not exist."""
        with self._converting_errors(name):
            blob = self._bucket.get_blob(name)
        return None if blob is None else _info(blob)

    def delete(self, name: str, generation: int | None = None) -> None:
        """Delete an object; do nothing when it, or that generation, does not exist."""
        try:
            with self._converting_errors(name, "storage.objects.delete"):
                self._bucket.blob(name).delete(if_generation_match=generation)
        except (NotFound, PreconditionFailed):
            return

    def check_bucket(self) -> None:
        """Look at the bucket, as other clients do before they upload to it. Raises AccessDenied."""
        with self._converting_errors("", "storage.buckets.get"):
            self._bucket.reload()

    def notifications(self) -> set[tuple[str, str]]:
        """Return the topics that receive notifications of new objects, each with its name prefix. Raises NotFound."""
        with self._converting_errors("", "storage.buckets.get"):
            configured = list(self._bucket.list_notifications())
        created = [n for n in configured if not n.event_types or "OBJECT_FINALIZE" in n.event_types]
        return {(str(n.topic_name), str(n.blob_name_prefix or "")) for n in created}

    @contextmanager
    def _converting_errors(self, name: str, permission: str = "storage.objects.get") -> Iterator[None]:
        """Convert errors of the connection, after the client's own retries, and rejections for lack of a permission."""
        try:
            yield
        except UNREACHABLE as error:
            raise ServiceUnavailable(f"Cloud Storage did not serve {self.url}/{name}: {error}") from error
        except Forbidden as error:
            if not is_denied(error):
                raise
            raise denied(error, f"{self.url}/{name}".rstrip("/"), permission, self.endpoint) from error
        except GoogleAuthError as error:
            raise unidentified(error, self.url) from error


class _Reader(BlobReader):  # type: ignore[misc]  # the client has no types
    """A reader whose errors are the platform's."""

    def __init__(self, blob: Any, converting_errors: Callable[[str], AbstractContextManager[None]]) -> None:
        super().__init__(blob, chunk_size=RANGE_BYTES)
        self._name, self._converting_errors = str(blob.name), converting_errors

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        with self._converting_errors(self._name):
            return bytes(super().read(size))

    def seek(self, pos: int, whence: int = 0) -> int:
        """Move to a position; the first call asks for the object's size."""
        with self._converting_errors(self._name):
            return int(super().seek(pos, whence))


def _info(blob: storage.Blob) -> ObjectInfo:
    return ObjectInfo(blob.name, int(blob.generation), int(blob.size), blob.updated, dict(blob.metadata or {}))
