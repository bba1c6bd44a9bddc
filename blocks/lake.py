"""Blocks with the address of the lake: one opens it for tasks, one stores Prefect's task results in it."""

import asyncio
from functools import lru_cache

from prefect._internal.compatibility.async_dispatch import async_dispatch  # as Prefect's own filesystems
from prefect.blocks.core import Block
from prefect.filesystems import WritableFileSystem
from pydantic import Field

from millrace.domain import names
from millrace.domain.errors import ObjectMissing
from millrace.lake.open import open_lake
from millrace.lake.store import Lake

_open_lake = lru_cache(maxsize=8)(open_lake)


class MillraceLake(Block):
    """The data lake on Cloud Storage."""

    _block_type_name = "Millrace Lake"
    _block_type_slug = "millrace-lake"

    url: str = Field(description="gs://<bucket>")
    endpoint: str = Field(default="", description="Address of a server other than Google's.")

    def open(self) -> Lake:
        """Return a client of the lake."""
        return _open_lake(self.url, self.endpoint)


class MillraceResults(WritableFileSystem):
    """Task results in the lake's bucket, so that a retried run continues where it failed."""

    _block_type_name = "Millrace Results"
    _block_type_slug = "millrace-results"

    url: str = Field(description="gs://<bucket>")
    endpoint: str = Field(default="", description="Address of a server other than Google's.")

    async def aread_path(self, path: str) -> bytes:
        """Return the bytes of one result. Raises ValueError when it does not exist, as Prefect expects."""
        return await asyncio.to_thread(self._read, path)

    @async_dispatch(aread_path)
    def read_path(self, path: str) -> bytes:  # type: ignore[override]  # sync or async, like Prefect's own
        """Return the bytes of one result. Raises ValueError when it does not exist, as Prefect expects."""
        return self._read(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """Store one result."""
        await asyncio.to_thread(self._write, path, content)

    @async_dispatch(awrite_path)
    def write_path(self, path: str, content: bytes) -> None:  # type: ignore[override]  # as read_path
        """Store one result."""
        self._write(path, content)

    def _read(self, path: str) -> bytes:
        try:
            return _open_lake(self.url, self.endpoint).read(names.RESULTS + path)
        except ObjectMissing as error:
            raise ValueError(f"no result {path}: {error}") from None

    def _write(self, path: str, content: bytes) -> None:
        _open_lake(self.url, self.endpoint).write(names.RESULTS + path, content)
