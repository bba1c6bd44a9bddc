"""Rows in, one Parquet or Avro file out; rows are written as they come, so that memory holds the file and no rows."""

import io
from typing import Any, Protocol

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from fastavro.write import Writer

from local.airbyte.columns import Field, Row, arrow_schema

GROUP_ROWS = 10_000
AVRO_TYPES: dict[pa.DataType, Any] = {
    pa.int64(): "long",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.string(): "string",
    pa.date32(): {"type": "int", "logicalType": "date"},
    pa.timestamp("us", tz="UTC"): {"type": "long", "logicalType": "timestamp-micros"},
}


class DataFile(Protocol):
    """A file under way."""

    extension: str

    def write(self, row: Row) -> None:
        """Add a row."""

    def finish(self) -> bytes:
        """The whole file; nothing can be added after."""


class ParquetFile:
    """A Parquet file under way, with row groups of `GROUP_ROWS`."""

    extension = ".parquet"

    def __init__(self, fields: list[Field], compression: str = "SNAPPY") -> None:
        self._schema, self._rows = arrow_schema(fields), list[Row]()
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression=compression.lower())

    def write(self, row: Row) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) >= GROUP_ROWS:
            self._write_group()

    def finish(self) -> bytes:
        """The whole file."""
        self._write_group()
        self._writer.close()
        return bytes(self._sink.getvalue())

    def _write_group(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


class AvroFile:
    """An Avro file under way."""

    extension = ".avro"

    def __init__(self, fields: list[Field], compression: str = "null") -> None:
        self._sink = io.BytesIO()
        self._writer = Writer(self._sink, avro_schema(fields), codec=compression)

    def write(self, row: Row) -> None:
        """Add a row."""
        self._writer.write(row)

    def finish(self) -> bytes:
        """The whole file."""
        self._writer.flush()
        return self._sink.getvalue()


def data_file(fields: list[Field], format_: Row) -> DataFile:
    """A new file in the format that a destination's configuration asks for.

    Raises:
        ValueError: the destination can't write that format here.
    """
    kind = str(format_.get("format_type", "Parquet")).lower()
    if kind == "parquet":
        return ParquetFile(fields, str(format_.get("compression_codec", "SNAPPY")))
    if kind == "avro":
        codec = format_.get("compression_codec", {})
        name = codec.get("codec", "no compression") if isinstance(codec, dict) else codec
        return AvroFile(fields, {"no compression": "null"}.get(str(name).lower(), str(name).lower()))
    raise ValueError(f"format_type {kind!r} is not written here; choose Parquet or Avro")


def avro_schema(fields: list[Field]) -> Any:
    """Airbyte's own columns, then the source fields, all of them nullable."""
    change = {"type": "record", "name": "change", "fields": [
        {"name": name, "type": "string"} for name in ("field", "change", "reason")
    ]}  # fmt: skip
    meta = {"type": "record", "name": "_airbyte_meta", "fields": [
        {"name": "sync_id", "type": "long"}, {"name": "changes", "type": {"type": "array", "items": change}},
    ]}  # fmt: skip
    own = [
        {"name": "_airbyte_raw_id", "type": "string"},
        {"name": "_airbyte_extracted_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "_airbyte_generation_id", "type": "long"},
        {"name": "_airbyte_meta", "type": meta},
    ]
    source = [{"name": f.name, "type": ["null", AVRO_TYPES[f.arrow]], "default": None} for f in fields]
    return fastavro.parse_schema({"type": "record", "name": "row", "fields": own + source})
