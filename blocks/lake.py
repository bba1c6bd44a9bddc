"""The lake as blocks: for tasks, and for Prefect's own task results."""

import asyncio
from functools import lru_cache

from prefect.blocks.core import Block
from prefect.filesystems import WritableFileSystem
from pydantic import Field

from contracts import names
from lake.store import Lake, open_lake

_opened = lru_cache(maxsize=8)(open_lake)


class MillraceLake(Block):
    """The data lake on Cloud Storage."""

    _block_type_name = "Millrace Lake"
    _block_type_slug = "millrace-lake"

    url: str = Field(description="gs://<bucket>")
    endpoint: str = Field(default="", description="Address of a server other than Google's.")

    def open(self) -> Lake:
        """A client of the lake."""
        return _opened(self.url, self.endpoint)


class MillraceResults(WritableFileSystem):
    """Task results in the lake's bucket, so that a retried run goes on where it failed."""

    _block_type_name = "Millrace Results"
    _block_type_slug = "millrace-results"

    url: str = Field(description="gs://<bucket>")
    endpoint: str = Field(default="", description="Address of a server other than Google's.")

    async def read_path(self, path: str) -> bytes:
        """Bytes of one result. Raises ValueError when there is none, as Prefect expects."""
        lake = _opened(self.url, self.endpoint)
        if await asyncio.to_thread(lake.stat, names.RESULTS + path) is None:
            raise ValueError(f"no result at {self.url}/{names.RESULTS}{path}")
        return await asyncio.to_thread(lake.read, names.RESULTS + path)

    async def write_path(self, path: str, content: bytes) -> None:
        """Keep one result."""
        lake = _opened(self.url, self.endpoint)
        await asyncio.to_thread(lake.write, names.RESULTS + path, content)
