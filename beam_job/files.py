"""Data files of the lake in, Arrow tables out."""

import io
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.batch import BatchObject
from contracts.errors import FileRejected, FileVanished
from lake.footers import is_avro
from lake.store import Lake, ObjectMissing

WHOLE_BYTES = 64 << 20


class DataFile:
    """One object, read at the generation that its manifest names.

    Raises:
        FileRejected: at construction or at reading, with the reason's code first.
    """

    def __init__(self, lake: Lake, what: BatchObject) -> None:
        self.name = what.name
        self._table: pa.Table | None = None
        self._parquet: pq.ParquetFile | None = None
        try:
            source = self._source(lake, what)
            if is_avro(what.name):
                self._table = _narrow(pl.read_avro(source).to_arrow())
                self.schema = self._table.schema
            else:
                self._parquet = pq.ParquetFile(source)
                self.schema = self._parquet.schema_arrow
        except ObjectMissing as error:
            raise FileVanished(f"file.missing: {error}") from error
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
            raise FileRejected(f"file.unreadable: {what.name}: {error}") from error
        except pl.exceptions.PanicException as error:  # how polars refuses some broken Avro
            raise FileRejected(f"file.unreadable: {what.name}: {error}") from None

    @staticmethod
    def _source(lake: Lake, what: BatchObject) -> BinaryIO:
        if what.size <= WHOLE_BYTES or is_avro(what.name):
            return io.BytesIO(lake.read(what.name, what.generation))
        return lake.open(what.name, what.generation)

    @property
    def rows(self) -> int:
        """Rows, by the footer or the block headers."""
        return int(self._parquet.metadata.num_rows if self._parquet else self._table.num_rows)  # type: ignore[union-attr]

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Some or all columns; those that the file lacks are left out."""
        wanted = None if columns is None else [c for c in columns if self.schema.get_field_index(c) >= 0]
        if self._parquet is None:
            assert self._table is not None  # noqa: S101  one of the two is there
            return self._table if wanted is None else self._table.select(wanted)
        try:
            return self._parquet.read(columns=wanted)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FileRejected(f"file.unreadable: {self.name}: {error}") from error


def _narrow(table: pa.Table) -> pa.Table:
    """Polars' large and view types as the plain ones."""
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        elif pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
            kind = pa.binary()
        fields.append(pa.field(field.name, kind))
    return table.cast(pa.schema(fields))
