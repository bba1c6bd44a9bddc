"""Tables in, bytes of files out, in all encodings that a destination may write: each gives the same rows."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from hypothesis import strategies as st

EXTRACTED_MS = 1_700_000_000_000
AVRO_CODECS = ("null", "deflate", "snappy", "bzip2", "xz")
PARQUET_CODECS = ("none", "snappy", "gzip", "zstd", "lz4")
PAGES = ("dictionary", "plain", "split", "delta")
WIDE = {
    "large": {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()},
    "view": {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()},
    "coded": {kind: pa.dictionary(pa.int32(), kind) for kind in (pa.string(), pa.binary())},
}
NARROW = (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32())
INTEGERS = (pa.int64(), pa.int32(), pa.date32(), pa.timestamp("us", "UTC"), pa.timestamp("ms", "UTC"))
TEXTS = (*WIDE["large"], *WIDE["large"].values())


@dataclass(frozen=True)
class Encoding:
    """The form of a file. Avro uses `codec` and `extracted` alone.

    Attributes:
        pages: the encoding of Parquet's pages.
        group_rows: rows per row group; 0: all in one.
        page: the version of Parquet's data pages.
        layout: how text and bytes are laid out in Arrow; "" for the plain layout.
        narrow: integers have the narrowest type that holds them.
        extracted: `_airbyte_extracted_at` is a "number", an "instant" or a "text".
    """

    ending: str = "parquet"
    codec: str = "snappy"
    pages: str = "dictionary"
    group_rows: int = 0
    page: str = "1.0"
    layout: str = ""
    narrow: bool = False
    extracted: str = "number"


EXTRACTED = st.sampled_from(["number", "number", "instant", "text"])
PARQUET = st.builds(
    Encoding,
    st.just("parquet"),
    st.sampled_from(PARQUET_CODECS),
    st.sampled_from(PAGES),
    st.sampled_from([0, 0, 1]),
    st.sampled_from(["1.0", "2.0"]),
    st.sampled_from(["", *WIDE]),
    st.booleans(),
    EXTRACTED,
)
AVRO = st.builds(Encoding, st.just("avro"), st.sampled_from(AVRO_CODECS), extracted=EXTRACTED)
ENCODINGS = st.one_of(PARQUET, PARQUET, AVRO)


def extracted_at(milliseconds: list[int], form: str) -> pa.Array:
    """Return the column `_airbyte_extracted_at` of times that count from an instant of 2023."""
    if form == "number":
        return pa.array([EXTRACTED_MS + ms for ms in milliseconds], pa.int64())
    instants = [datetime.fromtimestamp(EXTRACTED_MS / 1000, UTC) + timedelta(milliseconds=ms) for ms in milliseconds]
    if form == "instant":
        return pa.array(instants, pa.timestamp("ms", "UTC"))
    return pa.array([instant.isoformat() for instant in instants], pa.string())


def encode(table: pa.Table, how: Encoding) -> bytes:
    """Return a table as the bytes of a Parquet or Avro file."""
    return _parquet(table, how) if how.ending == "parquet" else _avro(table, how.codec)


def _parquet(table: pa.Table, how: Encoding) -> bytes:
    for number, field in enumerate(table.schema):
        kind = WIDE[how.layout].get(field.type, field.type) if how.layout else field.type
        kind = _narrowest(table.column(number)) if how.narrow and field.type == pa.int64() else kind
        table = table.set_column(number, field.name, _cast(table.column(number), kind))
    buffer = io.BytesIO()
    coded = how.pages == "dictionary"
    encodings = None if coded else {f.name: _page_encoding(f.type, how.pages) for f in table.schema}
    pq.write_table(
        table,
        buffer,
        compression=how.codec,
        use_dictionary=coded,
        column_encoding=encodings,
        row_group_size=how.group_rows or None,
        data_page_version=how.page,
    )
    return buffer.getvalue()


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)


def _narrowest(column: pa.ChunkedArray) -> pa.DataType:
    """Return the narrowest type that holds all integers of a column."""
    ends = pc.min_max(column)
    for kind in NARROW:
        try:
            ends["min"].cast(kind), ends["max"].cast(kind)
        except pa.ArrowInvalid:
            continue
        return kind
    return pa.int64()


def _page_encoding(kind: pa.DataType, pages: str) -> str:
    """Return the encoding of a column's pages; PLAIN where the wanted one is not for its type."""
    if pages == "split" and (kind in INTEGERS or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return "BYTE_STREAM_SPLIT"
    if pages == "delta" and kind in TEXTS:
        return "DELTA_BYTE_ARRAY"
    return "DELTA_BINARY_PACKED" if pages == "delta" and kind in INTEGERS else "PLAIN"


def _avro(table: pa.Table, codec: str) -> bytes:
    buffer = io.BytesIO()
    fields = [{"name": f.name, "type": ["null", _avro_type(f.type)], "default": None} for f in table.schema]
    schema = fastavro.parse_schema({"type": "record", "name": "record", "fields": fields})
    fastavro.writer(buffer, schema, table.to_pylist(), codec=codec)
    return buffer.getvalue()


def _avro_type(kind: pa.DataType) -> Any:
    if pa.types.is_decimal(kind):
        return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}
    return AVRO_TYPES[str(kind)]


AVRO_TYPES: dict[str, Any] = {
    "string": "string",
    "binary": "bytes",
    "bool": "boolean",
    "int64": "long",
    "int32": "int",
    "double": "double",
    "date32[day]": {"type": "int", "logicalType": "date"},
    "timestamp[us, tz=UTC]": {"type": "long", "logicalType": "timestamp-micros"},
    "timestamp[ms, tz=UTC]": {"type": "long", "logicalType": "timestamp-millis"},
}
