"""The port of the lake, an object store with generations."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol
from urllib.parse import quote

BROWSER = "https://storage.cloud.google.com"  # requires a Google account that may read the bucket


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's name, generation, size in bytes, creation time and metadata."""

    name: str
    generation: int
    size: int
    updated: datetime
    metadata: dict[str, str] = field(default_factory=dict, hash=False)


class Lake(Protocol):
    """An object store with generations; every write is atomic."""

    url: str
    endpoint: str

    def read(self, name: str, generation: int | None = None) -> bytes:
        """Return the bytes of an object. Raises ObjectMissing."""
        ...

    def open(self, name: str, generation: int | None = None) -> BinaryIO:
        """Return a seekable reader that fetches ranges, for footers and single columns. Raises ObjectMissing."""
        ...

    def write(self, name: str, data: bytes, content_type: str = "application/octet-stream") -> int:
        """Write or replace an object; return its generation."""
        ...

    def create(self, name: str, data: bytes, content_type: str = "application/json") -> int:
        """Write an object that must not exist yet. Raises ObjectExists."""
        ...

    def replace(self, name: str, data: bytes, generation: int, content_type: str, metadata: dict[str, str]) -> int:
        """Replace this generation of an object (0: create it); return the new one. Raises ObjectExists."""
        ...

    def address(self, name: str) -> str:
        """Return the address at which a browser opens an object, with the right to read it."""
        ...

    def upload(self, name: str, path: str, content_type: str = "application/octet-stream") -> int:
        """Write a local file as an object; return its generation."""
        ...

    def download(self, name: str, path: str) -> None:
        """Write an object to a local file. Raises ObjectMissing."""
        ...

    def list(self, prefix: str, start: str | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects whose names have the prefix, in order, from `start` on."""
        ...

    def stat(self, name: str) -> ObjectInfo | None:
        """Return the metadata of an object; None when it does not exist."""
        ...

    def delete(self, name: str, generation: int | None = None) -> None:
        """Delete an object; do nothing when it, or that generation, does not exist."""
        ...


def address_of(url: str, endpoint: str, name: str) -> str:
    """Return the address at which a browser opens an object of a lake, with the right to read it."""
    return f"{endpoint or BROWSER}/{url.removeprefix('gs://')}/{quote(name)}"
