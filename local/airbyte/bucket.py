"""Finished files in, objects of the lake's bucket out; an object appears whole or not at all."""

from collections.abc import Iterator
from typing import Any, Protocol

GENERATION = "ab-generation-id"
TIMEOUT_S = 60


class Bucket(Protocol):
    """What the destination needs of an object store."""

    def upload(self, name: str, data: bytes, metadata: dict[str, str]) -> str:
        """Write an object that was not there; returns the name it got."""

    def list(self, prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Names and metadata of objects."""

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens when it is gone."""


class StorageBucket:
    """A bucket of the Cloud Storage server at `endpoint`."""

    def __init__(self, endpoint: str, bucket: str, project: str) -> None:
        self._endpoint, self._name, self._project = endpoint, bucket, project
        self._opened: Any = None

    def upload(self, name: str, data: bytes, metadata: dict[str, str]) -> str:
        """Write an object; when there is one of that name, `-1`, `-2`, … is added to it, as Airbyte does."""
        from google.api_core.exceptions import PreconditionFailed
        from google.cloud.storage.retry import DEFAULT_RETRY

        retry, attempt, wanted = DEFAULT_RETRY.with_timeout(TIMEOUT_S), 0, name
        while True:
            blob = self._bucket.blob(wanted)
            blob.metadata = metadata
            try:
                blob.upload_from_string(
                    data, "application/octet-stream", if_generation_match=0, timeout=TIMEOUT_S, retry=retry
                )
                return wanted
            except PreconditionFailed:
                attempt += 1
                wanted = f"{name}-{attempt}"

    def list(self, prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Names and metadata of objects."""
        for blob in self._bucket.list_blobs(prefix=prefix):
            yield str(blob.name), dict(blob.metadata or {})

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens when it is gone."""
        from google.api_core.exceptions import NotFound

        try:
            self._bucket.blob(name).delete()
        except NotFound:
            return

    @property
    def _bucket(self) -> Any:
        if self._opened is None:  # imported here: the client takes a second, and the server must start at once
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import storage

            client = storage.Client(
                project=self._project,
                credentials=AnonymousCredentials(),
                client_options={"api_endpoint": self._endpoint},
            )
            self._opened = client.bucket(self._name)
        return self._opened
