"""The work at hand of a staging step, and where it leaves files and reports."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from beam_job.steps.units import Unit, units
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Batch
from millrace.lake.store import Lake

GROUP_ROWS = 1 << 16
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Work:
    """One attempt to stage one batch of one stream, and where its files are.

    No two attempts share staging files, so that one never deletes or reads what another writes.
    """

    lake: Lake
    contract: StreamContract
    batch: Batch
    attempt: str

    @cached_property
    def units(self) -> list[Unit]:
        """The batch's objects in groups."""
        return units(self.batch)

    @cached_property
    def unit_of(self) -> npt.NDArray[np.int32]:
        """Number of the unit of the object at each place."""
        return np.repeat(np.arange(len(self.units), dtype=np.int32), [len(unit.objects) for unit in self.units])

    def staging_path(self, kind: str, number: int) -> str:
        """Name of a file of one unit's rows, which the warehouse loads."""
        return self.path(kind, number, f".{self.batch.staging}")

    def path(self, kind: str, number: int, ending: str) -> str:
        """Name of a file that a step leaves for one unit or shard."""
        return f"{names.staging_prefix(self.batch.id, self.attempt)}{kind}-{number:05d}{ending}"

    def report(self, kind: str, number: int, body: dict[str, object]) -> None:
        """Leave counts for the driver."""
        self.lake.write(self.path(kind, number, ".json"), json.dumps(body).encode(), "application/json")


def refused_path(batch: Batch, kind: str, place: int) -> str:
    """Name of the file that keeps one object's refused rows, or the object's refusal; the same in all attempts."""
    return f"{names.quarantine_prefix(batch.source, batch.stream, batch.id)}{kind}-{place:05d}.parquet"


class TableFile:
    """A Parquet or Arrow object of the lake in the making: a local file, which is uploaded whole in the end."""

    def __init__(self, lake: Lake, name: str) -> None:
        self._lake, self._name = lake, name
        self._written = ExitStack()
        self._path = ""
        self._writer: pq.ParquetWriter | pa.ipc.RecordBatchFileWriter | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        """Append rows; those of small tables wait for each other, as each write makes a row group."""
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self.rows += table.num_rows
        if self._waiting_rows >= GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._waiting_rows = [], 0
        if self._writer is None:
            folder = self._written.enter_context(tempfile.TemporaryDirectory(prefix="millrace-"))
            self._path = f"{folder}/{PurePosixPath(self._name).name}"
            self._writer = self._written.enter_context(_open_writer(self._path, table.schema))
        self._writer.write_table(table)

    def finish(self) -> None:
        """Write the object, if there are rows."""
        self._write()
        if self._writer is not None:
            self._writer.close()
            self._lake.upload(self._name, self._path)

    def close(self) -> None:
        """Delete what is on this machine."""
        self._written.close()


def _open_writer(path: str, schema: pa.Schema) -> pq.ParquetWriter | pa.ipc.RecordBatchFileWriter:
    """Parquet without dictionaries, but for what is one already: smaller, and twice as quick to write."""
    if path.endswith(".arrow"):
        return pa.ipc.new_file(path, schema)
    coded = [f.name for f in schema if pa.types.is_dictionary(f.type)]
    return pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=coded or False, write_statistics=False)


@contextmanager
def table_files(lake: Lake, *paths: str) -> Iterator[list[TableFile]]:
    """Objects in the making, Parquet or Arrow by their names' endings; none is written when the block fails."""
    with ExitStack() as open_files:
        files = [open_files.enter_context(closing(TableFile(lake, path))) for path in paths]
        yield files
        for file in files:
            file.finish()
