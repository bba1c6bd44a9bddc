"""Staging files in DuckDB: objects of the lake in, a relation to select from out; Arrow is read without decoding."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from millrace.lake.store import Lake
from millrace.warehouse.duckdb import sql as sql


def download(lake: Lake, files: Sequence[str], folder: Path) -> list[str]:
    """Download staging files into a folder and return their paths."""
    paths = []
    for name in files:
        paths.append(str(folder / name.rsplit("/", 1)[1]))
        lake.download(name, paths[-1])
    return paths


def relation(db: duckdb.DuckDBPyConnection, name: str, files: Sequence[str]) -> str:
    """Return the relation of the rows of local files of one format; empty when there are no files.

    Args:
        db: a connection, in which Arrow files are registered as `name`.
        name: a name that no table or view has.
        files: paths that end in `.arrow` or `.parquet`.
    """
    if not files:
        return ""
    if files[0].endswith(".arrow"):
        db.register(name, ArrowFiles(files))
        return sql.quote(name)
    return f"read_parquet([{', '.join(sql.text(file) for file in files)}], union_by_name = true)"


class ArrowFiles:
    """Rows of Arrow files of one schema, for any number of scans (Arrow's PyCapsule interface).

    A batch of rows is mapped into memory only while it is read, so that a large file takes no more memory.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files

    def __arrow_c_schema__(self) -> object:
        return self._schema().__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self._schema(), self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _schema(self) -> pa.Schema:
        return _open(self._files[0]).schema

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for file in self._files:
            for number in range(_open(file).num_record_batches):
                yield _open(file).get_batch(number)  # each batch has its own mapping, which ends with it


def _open(file: str) -> pa.ipc.RecordBatchFileReader:
    return pa.ipc.open_file(pa.memory_map(file))
