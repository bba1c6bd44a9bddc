"""Staging files as DuckDB reads them: Arrow, of which only what is wanted is read and nothing decoded, or Parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from millrace.lake.store import Lake
from millrace.warehouse.duckdb import sql as sql


def download(lake: Lake, files: Sequence[str], folder: Path) -> list[str]:
    """Staging files as local ones."""
    paths = []
    for name in files:
        paths.append(str(folder / name.rsplit("/", 1)[1]))
        lake.download(name, paths[-1])
    return paths


def relation(db: duckdb.DuckDBPyConnection, name: str, files: Sequence[str]) -> str:
    """What to select the rows of local files from, all of one format; empty when there are no files.

    Args:
        db: a connection, which knows Arrow files by `name` from now on.
        name: of no table or view.
        files: with names that end in `.arrow` or `.parquet`.
    """
    if not files:
        return ""
    if files[0].endswith(".arrow"):
        db.register(name, ArrowFiles(files))
        return sql.quote(name)
    return f"read_parquet([{', '.join(sql.text(file) for file in files)}], union_by_name = true)"


class ArrowFiles:
    """Rows of Arrow files of one schema, for as many scans as are wanted (Arrow's PyCapsule interface).

    A batch of rows is mapped into memory while it is read, and no longer, so that a large file takes no more of it.
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
                yield _open(file).get_batch(number)  # of a mapping of its own, which ends with it


def _open(file: str) -> pa.ipc.RecordBatchFileReader:
    return pa.ipc.open_file(pa.memory_map(file))
