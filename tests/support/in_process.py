"""A lake and a warehouse in memory for the real functions of the merge: thousands of schedules a minute."""

import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import duckdb

from beam_job.attempts import stage
from beam_job.batches import close_batch, open_batch
from beam_job.commit import commit_batch
from beam_job.engines.plain import run_steps
from beam_job.steps.work import Work
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.errors import ObjectExists, ObjectMissing
from millrace.lake.store import Lake, ObjectInfo
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from tests.support.merging import NOON, Merging

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = itertools.count(1)


class MemoryLake:
    """A lake in a dictionary that keeps every generation until it is deleted."""

    endpoint = ""

    def __init__(self) -> None:
        self.url = f"memory://{next(NUMBERS)}"
        self._objects: dict[str, tuple[int, bytes]] = {}
        self._generations = itertools.count(1)

    def address(self, name: str) -> str:
        """Return the address of an object."""
        return f"{self.url}/{name}"

    def read(self, name: str, generation: int | None = None) -> bytes:
        stored = self._objects.get(name)
        if stored is None or generation not in (None, stored[0]):
            raise ObjectMissing(f"{self.url}/{name}#{generation or 'newest'} does not exist")
        return stored[1]

    def open(self, name: str, generation: int | None = None) -> BinaryIO:
        return io.BytesIO(self.read(name, generation))

    def write(self, name: str, data: bytes, content_type: str = "") -> int:
        self._objects[name] = (next(self._generations), bytes(data))
        return self._objects[name][0]

    def restore(self, name: str, generation: int, data: bytes) -> None:
        """Write an object with the generation that it has in another lake."""
        self._objects[name] = (generation, data)
        self._generations = itertools.count(1 + max(g for g, _ in self._objects.values()))

    def create(self, name: str, data: bytes, content_type: str = "") -> int:
        if name in self._objects:
            raise ObjectExists(f"{self.url}/{name} exists already")
        return self.write(name, data)

    def replace(self, name: str, data: bytes, generation: int, content_type: str, metadata: dict[str, str]) -> int:
        if self._objects.get(name, (0, b""))[0] != generation:
            raise ObjectExists(f"{self.url}/{name} is no longer generation {generation}")
        return self.write(name, data)

    def upload(self, name: str, path: str, content_type: str = "") -> int:
        return self.write(name, Path(path).read_bytes())

    def download(self, name: str, path: str) -> None:
        Path(path).write_bytes(self.read(name))

    def list(self, prefix: str, start: str | None = None) -> Iterator[ObjectInfo]:
        for name in sorted(self._objects):
            if name.startswith(prefix) and name >= (start or ""):
                yield self._info(name)

    def stat(self, name: str) -> ObjectInfo | None:
        return self._info(name) if name in self._objects else None

    def delete(self, name: str, generation: int | None = None) -> None:
        if name in self._objects and generation in (None, self._objects[name][0]):
            del self._objects[name]

    def _info(self, name: str) -> ObjectInfo:
        generation, data = self._objects[name]
        return ObjectInfo(name, generation, len(data), BEGINNING)


class MemoryWarehouse(DuckDBWarehouse):
    """The DuckDB warehouse with a database in memory instead of its file, and otherwise unchanged."""

    def __init__(self, beside: "MemoryWarehouse | None" = None) -> None:
        """Create an empty warehouse, or another connection to an existing one."""
        super().__init__("duckdb:////nowhere/warehouse.duckdb", "duckdb:////nowhere/published.duckdb")
        self._memory: duckdb.DuckDBPyConnection = (
            beside._memory if beside else duckdb.connect(":memory:", config={"threads": 1})
        )

    @contextmanager
    def _writing(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.connection() as db:
            yield db

    @contextmanager
    def _reading(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection | None]:
        with self.connection() as db:
            yield db

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._memory.cursor() as db:
            db.execute("SET TimeZone = 'UTC'")
            yield db

    def close(self) -> None:
        self._memory.close()


def stage_plainly(lake: Lake, contract: StreamContract, batch: Batch, shards: int = 2) -> Staged:
    """Stage a batch without Beam, on more shards than such small batches need."""

    def run(stream: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        run_steps(Work(lake, stream, batch, attempt), shards, rejected)

    return stage(lake, contract, batch, run)


class InProcess(Merging):
    """One stream's lake and warehouse in memory, merged without Beam."""

    def __init__(self, contract: StreamContract) -> None:
        super().__init__(MemoryLake(), Path("/nowhere"), contract)
        self.warehouse = MemoryWarehouse()

    def merge(self) -> list[Balance]:
        balances = []
        while batch := open_batch(self.lake, self.warehouse, self.contract, limits=self.limits, now=NOON):
            staged = stage_plainly(self.lake, self.contract, batch)
            balances.append(
                commit_batch(self.lake, self.warehouse, self.contract, batch, staged, run_id="test", at=NOON)
            )
            close_batch(self.lake, batch)
        return balances

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse._reading("test") as db:
            assert db is not None
            return db.execute(sql).fetchall()
