"""Data files of the lake in, Arrow tables out, a bounded number of rows at a time."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected, FileVanished
from millrace.lake.avro import avro_parts
from millrace.lake.footers import is_avro
from millrace.lake.store import Lake, ObjectMissing

WHOLE_BYTES = 64 << 20  # larger ones are not held in memory as they are
CHUNK_ROWS = 1 << 18
BUFFER_BYTES = 1 << 20
UNREADABLE = (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, EOFError, IndexError)


class DataFile:
    """One object, read at the generation that its manifest names; `rows` is what its footer says, where it has one.

    Raises:
        FileRejected: at construction or at reading, with the reason's code first.
    """

    def __init__(self, lake: Lake, what: BatchObject) -> None:
        self.name = what.name
        self._avro = is_avro(what.name)
        with _rejecting(self.name):
            source = self._source(lake, what)
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
    def _source(lake: Lake, what: BatchObject) -> BinaryIO:
        if what.size <= WHOLE_BYTES:
            return io.BytesIO(lake.read(what.name, what.generation))
        return lake.open(what.name, what.generation)

    def chunks(self, columns: list[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """All rows in order, once, as (position of the first, table); columns that the file lacks are left out."""
        wanted = None if columns is None else [c for c in columns if self.schema.get_field_index(c) >= 0]
        with _rejecting(self.name):
            first = 0
            for table in self._avro_tables(wanted) if self._avro else self._parquet_tables(wanted):
                _check(table)
                yield first, table
                first += table.num_rows

    def _parquet_tables(self, wanted: list[str] | None) -> Iterator[pa.Table]:
        if self._parquet.metadata.num_rows <= CHUNK_ROWS:
            yield self._parquet.read(columns=wanted, use_threads=False)
            return
        for batch in self._parquet.iter_batches(CHUNK_ROWS, columns=wanted):
            yield pa.Table.from_batches([batch])

    def _avro_tables(self, wanted: list[str] | None) -> Iterator[pa.Table]:
        part, self._first = self._first, None
        while part is not None:
            table = _read_avro(part, wanted)
            for start in range(0, max(table.num_rows, 1), CHUNK_ROWS):
                yield table.slice(start, CHUNK_ROWS)
            part = next(self._parts, None)


@contextmanager
def _rejecting(name: str) -> Iterator[None]:
    """Say of what can't be read which file it is of, and why."""
    try:
        yield
    except ObjectMissing as error:
        raise FileVanished(f"file.missing: {error}") from error
    except UNREADABLE as error:
        raise FileRejected(f"file.unreadable: {name}: {error}") from error
    except pl.exceptions.PanicException as error:  # how polars refuses some broken Avro
        raise FileRejected(f"file.unreadable: {name}: {error}") from None


def _check(table: pa.Table) -> None:
    """Refuse what readers of Parquet do not look at, above all text that is not UTF-8: it would break a commit."""
    for name in table.column_names:
        try:
            table.column(name).validate(full=True)
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(f"column {name}: {error}") from error


def _read_avro(part: bytes, columns: list[str] | None = None, rows: int | None = None) -> pa.Table:
    """Avro as Arrow, with the plain types in place of polars' large and view ones."""
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
