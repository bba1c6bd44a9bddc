"""An attempt to stage a batch in; the names and writers of its files and reports out."""

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
    """One attempt to stage one batch of one stream, with the names of its files.

    No two attempts share staging files, so that one never deletes or reads the files of another.
    """

    lake: Lake
    contract: StreamContract
    batch: Batch
    attempt: str

    @cached_property
    def units(self) -> list[Unit]:
        """Return the batch's objects in units."""
        return units(self.batch)

    @cached_property
    def unit_of(self) -> npt.NDArray[np.int32]:
        """Return the unit's number for the index of each object."""
        return np.repeat(np.arange(len(self.units), dtype=np.int32), [len(unit.objects) for unit in self.units])

    def staging_path(self, kind: str, number: int) -> str:
        """Return the name of a file with one unit's rows, which the warehouse loads."""
        return self.path(kind, number, f".{self.batch.staging}")

    def path(self, kind: str, number: int, ending: str) -> str:
        """Return the name of a file that a step writes for one unit or shard."""
        return f"{names.staging_prefix(self.batch.id, self.attempt)}{kind}-{number:05d}{ending}"

    def report(self, kind: str, number: int, body: dict[str, object]) -> None:
        """Write counts for the driver."""
        self.lake.write(self.path(kind, number, ".json"), json.dumps(body).encode(), "application/json")


def quarantine_path(batch: Batch, kind: str, index: int) -> str:
    """Return the file of an object's quarantined rows, or of a quarantined object's reason; all attempts share it."""
    return f"{names.quarantine_prefix(batch.source, batch.stream, batch.id)}{kind}-{index:05d}.parquet"


class TableFile:
    """A Parquet or Arrow object of the lake that is being written: a local file, uploaded whole when it is finished."""

    def __init__(self, lake: Lake, name: str) -> None:
        self._lake, self._name = lake, name
        self._written = ExitStack()
        self._path = ""
        self._writer: pq.ParquetWriter | pa.ipc.RecordBatchFileWriter | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        """Append rows; small tables are collected first, as each write makes a row group."""
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
        """Upload the object, if it has rows."""
        self._write()
        if self._writer is not None:
            self._writer.close()
            self._lake.upload(self._name, self._path)

    def close(self) -> None:
        """Delete the local file."""
        self._written.close()


def _open_writer(path: str, schema: pa.Schema) -> pq.ParquetWriter | pa.ipc.RecordBatchFileWriter:
    """Open a file; Parquet encodes only dictionary columns as such, which is smaller and twice as fast to write."""
    if path.endswith(".arrow"):
        return pa.ipc.new_file(path, schema)
    coded = [f.name for f in schema if pa.types.is_dictionary(f.type)]
    return pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=coded or False, write_statistics=False)


@contextmanager
def table_files(lake: Lake, *paths: str) -> Iterator[list[TableFile]]:
    """Yield writers of objects, Parquet or Arrow by their names' endings; none is uploaded when the block fails."""
    with ExitStack() as open_files:
        files = [open_files.enter_context(closing(TableFile(lake, path))) for path in paths]
        yield files
        for file in files:
            file.finish()
