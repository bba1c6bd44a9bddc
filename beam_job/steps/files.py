"""Data files of the lake in, Arrow tables of a bounded number of rows and of plain types out."""

import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from beam_job.steps.avro_reader import AvroReader
from beam_job.steps.bounds import within_years
from beam_job.steps.cached import cached
from beam_job.steps.guard import rejecting
from beam_job.steps.storage_types import column_type, is_json, plain_schema, plain_table
from beam_job.steps.types import unranged
from millrace.domain.batch import BatchObject
from millrace.domain.column_names import table_names
from millrace.domain.errors import FileRejected, FileVanished, ObjectMissing
from millrace.lake.avro import avro_parts, read_header
from millrace.lake.footers import is_avro, parquet_rows
from millrace.lake.source import Source
from millrace.lake.store import Lake

WHOLE_BYTES = 64 << 20  # larger files are not read into memory whole
CHUNK_ROWS = 1 << 18
BUFFER_BYTES = 1 << 20
MOST_REASON = 500  # characters
PLAIN_ERRORS = (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, EOFError)  # their text is enough


class DataFile:
    """One object, read at the generation that its manifest names.

    With `declared`, the table's columns, the file's columns have the names that they get in the table.

    Attributes:
        schema: plain types: no dictionaries or views, and no extensions but JSON; a UUID is text.
        rows: the count in the footer, if the format has one; that of a part in a part.
        json_columns: the text columns that the file marks as JSON.
        bounded: the columns of dates and times whose values all fit a table's, by the file's statistics.

    Raises:
        FileRejected: at construction or at reading, with the reason's code first.
    """

    def __init__(self, lake: Lake, obj: BatchObject, declared: Collection[str] | None = None) -> None:
        self.name = obj.name
        self.rows: int | None = None
        self.json_columns: frozenset[str] = frozenset()
        self.bounded: frozenset[str] = frozenset()
        self._encoded: frozenset[str] = frozenset()
        self._groups, self._blocks = obj.groups, obj.blocks
        self._first = obj.blocks.first_row if obj.blocks else 0
        self._source = _source(lake, obj)
        with _rejecting(self.name, self._source):
            if is_avro(obj.name):
                self._header = read_header(self._source)
                self._avro: AvroReader | None = AvroReader(self._header)
                self.schema = self._avro.schema
            else:
                self._avro = None
                self._open_parquet()
        names = _names(tuple(self.schema.names), tuple(declared)) if declared is not None else {}
        self._new_names = {old: new for old, new in names.items() if old != new}
        self._old_names = {new: old for old, new in self._new_names.items()}
        if self._new_names:
            self.schema = pa.schema([field.with_name(names[field.name]) for field in self.schema])
            self.json_columns = frozenset(names[name] for name in self.json_columns)
            self.bounded = frozenset(names[name] for name in self.bounded & names.keys())

    def _open_parquet(self) -> None:
        self._parquet = pq.ParquetFile(
            self._source,
            buffer_size=BUFFER_BYTES,
            pre_buffer=False,
            coerce_int96_timestamp_unit="us",  # nanoseconds end in the year 2262
            page_checksum_verification=True,
        )
        self.rows = parquet_rows(self._parquet.metadata)
        if self._groups:
            begin, end = self._groups
            counts = [self._parquet.metadata.row_group(number).num_rows for number in range(end)]
            self._first, self.rows = sum(counts[:begin]), sum(counts[begin:])
        self.schema, self._encoded, self.json_columns = _plain_layout(self._parquet.schema_arrow)
        self.bounded = within_years(self._parquet.metadata)

    def chunks(self, columns: list[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Yield all rows once, in order, as (position of the first, table), without the columns that the file lacks.

        Of a part of a file, its rows are yielded, at their positions in the file.
        """
        existing = None
        if columns is not None:
            existing = [self._old_names.get(c, c) for c in columns if self.schema.get_field_index(c) >= 0]
        with _rejecting(self.name, self._source):
            first = self._first
            for table in self._avro_tables(self._avro, existing) if self._avro else self._parquet_tables(existing):
                for part in plain_table(table, self._encoded):
                    _check(part)
                    yield first, self._with_new_names(part)
                    first += part.num_rows

    def _with_new_names(self, table: pa.Table) -> pa.Table:
        if not self._new_names:
            return table
        return table.rename_columns([self._new_names.get(name, name) for name in table.column_names])

    def _parquet_tables(self, columns: list[str] | None) -> Iterator[pa.Table]:
        if self._parquet.metadata.num_rows <= CHUNK_ROWS and not self._groups:
            yield self._parquet.read(columns=columns, use_threads=False)
            return
        groups = {"row_groups": list(range(*self._groups))} if self._groups else {}
        for batch in self._parquet.iter_batches(CHUNK_ROWS, columns=columns, **groups):
            yield pa.Table.from_batches([batch])

    def _avro_tables(self, avro: AvroReader, columns: list[str] | None) -> Iterator[pa.Table]:
        some = False
        span = (self._blocks.begin, self._blocks.end) if self._blocks else None
        for part in avro_parts(self._source, self._header, WHOLE_BYTES, span):
            for table in avro.tables(part, columns):
                for start in range(0, table.num_rows, CHUNK_ROWS):
                    some = True
                    yield table.slice(start, min(CHUNK_ROWS, table.num_rows - start))
        if not some:
            table = self.schema.empty_table()
            yield table if columns is None else table.select([n for n in table.column_names if n in columns])


@cached
def _plain_layout(schema: pa.Schema) -> tuple[pa.Schema, frozenset[str], frozenset[str]]:
    """Return the plain schema, the encoded columns, and those that are marked as JSON."""
    _reject_twins(schema)
    encoded = frozenset(field.name for field in schema if column_type(field.type) != field.type)
    marked = frozenset(field.name for field in schema if is_json(field.type))
    return plain_schema(schema) if encoded else schema, encoded, marked


@cached
def _names(columns: tuple[str, ...], declared: tuple[str, ...]) -> Mapping[str, str]:
    return table_names(columns, declared)


def _source(lake: Lake, obj: BatchObject) -> BinaryIO:
    """Open an object, in memory if it is small. Raises FileVanished."""
    try:
        if obj.size <= WHOLE_BYTES and not obj.is_part:
            return io.BytesIO(lake.read(obj.name, obj.generation))
        return cast(BinaryIO, Source(lake.open(obj.name, obj.generation)))
    except ObjectMissing as error:
        raise FileVanished(f"file.missing: {error}") from error


@contextmanager
def _rejecting(name: str, source: BinaryIO) -> Iterator[None]:
    """Turn any error of a reader into the file's rejection, but leave the lake's errors as they are."""
    try:
        with rejecting(name, _reason):
            yield
    except ObjectMissing as error:
        raise FileVanished(f"file.missing: {error}") from error
    except FileRejected:
        if isinstance(source, Source) and source.error:
            raise source.error from None
        raise


def _reason(error: BaseException) -> str:
    """Return one line that says why a file can't be read."""
    text = " ".join(str(error).split())[:MOST_REASON]
    if text and isinstance(error, PLAIN_ERRORS):
        return text
    return f"it is damaged, or uses its format in an unknown way ({type(error).__name__}: {text})"


def _reject_twins(schema: pa.Schema) -> None:
    """Reject two columns of one name: nobody knows which is meant."""
    twins = [name for name, count in Counter(schema.names).items() if count > 1]
    if twins:
        raise ValueError(f"it has two columns of the name {', '.join(map(repr, twins))}")


def _check(table: pa.Table) -> None:
    """Reject values that Parquet readers do not check, mainly text that is not UTF-8: it would fail the commit."""
    with suppress(pa.ArrowInvalid):  # which column it is, and whether it is one of times, is to be found
        table.validate(full=True)
        return
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = unranged(column.type)
        try:
            (column if kind == column.type else column.cast(kind)).validate(full=True)
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(f"column {name}: {error}") from error
