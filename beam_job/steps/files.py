"""Data files of the lake in, Arrow tables of a bounded number of rows out."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected, FileVanished, ObjectMissing
from millrace.lake.avro import avro_parts
from millrace.lake.footers import is_avro
from millrace.lake.store import Lake

WHOLE_BYTES = 64 << 20  # larger files are not read into memory whole
CHUNK_ROWS = 1 << 18
BUFFER_BYTES = 1 << 20
UNREADABLE = (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, EOFError, IndexError)


class DataFile:
    """One object, read at the generation that its manifest names; `rows` is the count in its footer, if it has one.

    Raises:
        FileRejected: at construction or at reading, with the reason's code first.
    """

    def __init__(self, lake: Lake, obj: BatchObject) -> None:
        self.name = obj.name
        self._avro = is_avro(obj.name)
        with _rejecting(self.name):
            source = self._source(lake, obj)
            if self._avro:
                self._parts = avro_parts(source, WHOLE_BYTES)
                self._first: bytes | None = next(self._parts)
                self.schema = _read_avro(self._first, rows=0).schema
                self.rows: int | None = None
            else:
                self._parquet = pq.ParquetFile(source, buffer_size=BUFFER_BYTES, pre_buffer=False)
                self.schema = self._parquet.schema_arrow
                self.rows = self._parquet.metadata.num_rows

    @staticmethod
    def _source(lake: Lake, obj: BatchObject) -> BinaryIO:
        if obj.size <= WHOLE_BYTES:
            return io.BytesIO(lake.read(obj.name, obj.generation))
        return lake.open(obj.name, obj.generation)

    def chunks(self, columns: list[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Yield all rows once, in order, as (position of the first, table), without the columns that the file lacks."""
        existing = None if columns is None else [c for c in columns if self.schema.get_field_index(c) >= 0]
        with _rejecting(self.name):
            first = 0
            for table in self._avro_tables(existing) if self._avro else self._parquet_tables(existing):
                _check(table)
                yield first, table
                first += table.num_rows

    def _parquet_tables(self, columns: list[str] | None) -> Iterator[pa.Table]:
        if self._parquet.metadata.num_rows <= CHUNK_ROWS:
            yield self._parquet.read(columns=columns, use_threads=False)
            return
        for batch in self._parquet.iter_batches(CHUNK_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])

    def _avro_tables(self, columns: list[str] | None) -> Iterator[pa.Table]:
        part, self._first = self._first, None
        while part is not None:
            table = _read_avro(part, columns)
            for start in range(0, max(table.num_rows, 1), CHUNK_ROWS):
                yield table.slice(start, CHUNK_ROWS)
            part = next(self._parts, None)


@contextmanager
def _rejecting(name: str) -> Iterator[None]:
    """Turn a reader's error into one that names the file and the reason."""
    try:
        yield
    except ObjectMissing as error:
        raise FileVanished(f"file.missing: {error}") from error
    except UNREADABLE as error:
        raise FileRejected(f"file.unreadable: {name}: {error}") from error
    except pl.exceptions.PanicException as error:  # polars raises it for some corrupt Avro
        raise FileRejected(f"file.unreadable: {name}: {error}") from None


def _check(table: pa.Table) -> None:
    """Reject values that Parquet readers do not check, mainly text that is not UTF-8: it would fail the commit."""
    for name in table.column_names:
        try:
            table.column(name).validate(full=True)
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(f"column {name}: {error}") from error


def _read_avro(part: bytes, columns: list[str] | None = None, rows: int | None = None) -> pa.Table:
    """Read Avro as Arrow, with plain types instead of the large and view types of polars."""
    table = pl.read_avro(io.BytesIO(part), columns=columns, n_rows=rows).to_arrow()
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        elif pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
            kind = pa.binary()
        fields.append(pa.field(field.name, kind))
    return table.cast(pa.schema(fields))
