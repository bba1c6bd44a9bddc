"""The port of the lake: an object store with generations."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol
from urllib.parse import quote

from millrace.domain.errors import Fatal

BROWSER = "https://storage.cloud.google.com"  # asks for a Google account that may read the bucket


class ObjectMissing(Fatal):
    """An object, or the generation asked for, is not there."""


class ObjectExists(Fatal):
    """A create-once object is there already, or a generation has moved on."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's name, generation, size in bytes, creation time and metadata."""

    name: str
    generation: int
    size: int
    updated: datetime
    metadata: dict[str, str] = field(default_factory=dict, hash=False)


class Lake(Protocol):
    """An object store with generations; every write is whole or not at all."""

    url: str
    endpoint: str

    def read(self, name: str, generation: int | None = None) -> bytes:
        """Bytes of an object. Raises ObjectMissing."""
        ...

    def open(self, name: str, generation: int | None = None) -> BinaryIO:
        """A seekable reader that fetches ranges, for footers and single columns. Raises ObjectMissing."""
        ...

    def write(self, name: str, data: bytes, content_type: str = "application/octet-stream") -> int:
        """Write or replace an object; returns its generation."""
        ...

    def create(self, name: str, data: bytes, content_type: str = "application/json") -> int:
        """Write an object that must not exist yet. Raises ObjectExists."""
        ...

    def replace(self, name: str, data: bytes, generation: int, content_type: str, metadata: dict[str, str]) -> int:
        """Write an object only over this generation (0: over none); returns the new one. Raises ObjectExists."""
        ...

    def address(self, name: str) -> str:
        """Address at which a person with the right opens an object in a browser."""
        ...

    def upload(self, name: str, path: str, content_type: str = "application/octet-stream") -> int:
        """Write a local file as an object; returns its generation."""
        ...

    def download(self, name: str, path: str) -> None:
        """Write an object to a local file. Raises ObjectMissing."""
        ...

    def list(self, prefix: str, start: str | None = None) -> Iterator[ObjectInfo]:
        """Objects whose names have the prefix, in order, from `start` on."""
        ...

    def stat(self, name: str) -> ObjectInfo | None:
        """What the store knows of an object, None when there is none."""
        ...

    def delete(self, name: str, generation: int | None = None) -> None:
        """Delete an object; nothing happens when it, or that generation, is gone."""
        ...


def address_of(url: str, endpoint: str, name: str) -> str:
    """Address at which a person with the right opens an object of a lake in a browser."""
    return f"{endpoint or BROWSER}/{url.removeprefix('gs://')}/{quote(name)}"
