"""Writes records as the GCS destination 1.x does: one folder per sync, Parquet or Avro, Airbyte's columns first."""

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from local.servers.airbyte.columns import META, Changes, arrow_type, column, meta_column, random_ids

Json = dict[str, Any]
Upload = Callable[[str, bytes, dict[str, str]], None]
FLUSH_ROWS, FLUSH_BYTES = 200_000, 128 << 20
FORMATS = ("Parquet", "Avro")
PATH_FORMAT = "${NAMESPACE}/${STREAM_NAME}/${YEAR}_${MONTH}_${DAY}_${EPOCH}_"
OWN = [
    pa.field("_airbyte_raw_id", pa.string(), nullable=False),
    pa.field("_airbyte_extracted_at", pa.int64(), nullable=False),
    pa.field("_airbyte_generation_id", pa.int64()),
    pa.field("_airbyte_meta", META, nullable=False),
]


class StreamWriter:
    """Collects one stream's records and uploads them in parts."""

    def __init__(
        self, stream: Json, namespace: str, job_id: int, config: Json, generation: int, upload: Upload
    ) -> None:
        self.name, self.rows, self.bytes = stream["name"], 0, 0
        self._types = {name: arrow_type(declared) for name, declared in stream["json_schema"]["properties"].items()}
        self._job_id, self._generation, self._upload = job_id, generation, upload
        self._format = config.get("format", {"format_type": "Parquet"})
        self._folder = folder(path_format(config), namespace, self.name, job_id)
        self._part = 0
        self._records: list[Json] = []
        self._tables: list[pa.Table] = []
        self._waiting = 0
        self._emitted: list[int] = []

    def add(self, data: Json, emitted_at: float) -> None:
        """Take one record.

        Raises:
            TypeError: the value is not an object, or has no time.
        """
        if not isinstance(data, dict):
            raise TypeError(f"its data is {type(data).__name__}, no object")
        if self._tables:
            self.flush()
        self._emitted.append(int(emitted_at))
        self._records.append(data)
        if len(self._records) >= FLUSH_ROWS:
            self.flush()

    def add_table(self, table: pa.Table, emitted_at: float) -> None:
        """Take rows that are columns already; the file has their types, not those of the catalog."""
        if self._records or (self._tables and self._tables[0].schema != table.schema):
            self.flush()
        self._tables.append(table)
        self._emitted += [int(emitted_at)] * table.num_rows
        self._waiting += table.nbytes
        if len(self._emitted) >= FLUSH_ROWS or self._waiting >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Upload the collected rows; without rows no file is written."""
        if self._tables:
            self._upload_table(self._with_own(pa.concat_tables(self._tables), {}))
        if self._records:
            self._upload_table(self._table())

    def _upload_table(self, table: pa.Table) -> None:
        avro = self._format["format_type"] == "Avro"
        data = to_avro(table, self._format) if avro else to_parquet(table, self._format)
        name = f"{self._folder}{self._part}{'.avro' if avro else '.parquet'}"
        self._upload(name, data, {"ab-generation-id": str(self._generation)})
        self.rows += table.num_rows
        self.bytes += len(data)
        self._part += 1
        self._waiting = 0
        self._records.clear()
        self._tables.clear()
        self._emitted.clear()

    def _table(self) -> pa.Table:
        """The records as columns, Airbyte's own first."""
        changes: Changes = {}
        columns = [
            column(name, kind, [record.get(name) for record in self._records], changes)
            for name, kind in self._types.items()
        ]
        return self._with_own(pa.Table.from_arrays(columns, list(self._types)), changes)

    def _with_own(self, table: pa.Table, changes: Changes) -> pa.Table:
        """A table with Airbyte's own columns in front of it."""
        rows = table.num_rows
        own = [
            random_ids(rows),
            pa.array(self._emitted, pa.int64()),
            pa.repeat(pa.scalar(self._generation, pa.int64()), rows),
            meta_column(self._job_id, rows, changes),
        ]
        return pa.Table.from_arrays([*own, *table.columns], schema=pa.schema([*OWN, *table.schema]))


def path_format(config: Json) -> str:
    """Return the template of the destination's object names: its bucket path, then its path format."""
    inside = str(config.get("gcs_bucket_path", "")).strip("/")
    return f"{inside}/{config['gcs_path_format']}".lstrip("/")


def folder(template: str, namespace: str, stream: str, job_id: int) -> str:
    """The destination's path format, filled."""
    today = datetime.now(UTC)
    values = {
        "NAMESPACE": namespace,
        "STREAM_NAME": stream,
        "SYNC_ID": job_id,
        "YEAR": today.year,
        "MONTH": today.month,
        "DAY": today.day,
        "EPOCH": int(time.time() * 1000),
    }
    return _fill(template, values).lstrip("/")


def stream_prefix(config: Json, namespace: str, stream: str) -> str:
    """Return the common prefix of a stream's objects: their path up to the first part that differs between syncs."""
    return _fill(path_format(config), {"NAMESPACE": namespace, "STREAM_NAME": stream}).split("${")[0]


def _fill(template: str, values: Json) -> str:
    for name, value in values.items():
        template = template.replace("${" + name + "}", str(value))
    return template


def to_parquet(table: pa.Table, config: Json) -> bytes:
    """A Parquet file."""
    codec = config.get("compression_codec", "SNAPPY").lower()
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none" if codec == "uncompressed" else codec)
    return buffer.getvalue()


AVRO = {pa.int64(): "long", pa.float64(): "double", pa.bool_(): "boolean", pa.string(): "string", pa.binary(): "bytes"}


def to_avro(table: pa.Table, config: Json) -> bytes:
    """An Avro file."""
    import fastavro

    change = {
        "type": "record",
        "name": "change",
        "fields": [{"name": n, "type": ["null", "string"]} for n in ("field", "change", "reason")],
    }
    meta = {
        "type": "record",
        "name": "meta",
        "fields": [
            {"name": "sync_id", "type": "long"},
            {"name": "changes", "type": {"type": "array", "items": change}},
        ],
    }
    fields: list[Json] = [
        {"name": "_airbyte_raw_id", "type": "string"},
        {"name": "_airbyte_extracted_at", "type": "long"},
        {"name": "_airbyte_generation_id", "type": ["null", "long"]},
        {"name": "_airbyte_meta", "type": meta},
    ]
    for field in table.schema:
        if not field.name.startswith("_airbyte_"):
            fields.append({"name": field.name, "type": ["null", avro_type(field.type)], "default": None})
    compression = config.get("compression_codec", {"codec": "null"})
    name = compression["codec"] if isinstance(compression, dict) else str(compression)
    buffer = io.BytesIO()
    schema = fastavro.parse_schema({"type": "record", "name": "record", "fields": fields})
    codec = {"no compression": "null", "null": "null", "deflate": "deflate", "snappy": "snappy"}[name.lower()]
    fastavro.writer(buffer, schema, table.to_pylist(), codec=codec)
    return buffer.getvalue()


def avro_type(kind: pa.DataType) -> Any:
    """Avro type of a column."""
    if pa.types.is_date(kind):
        return {"type": "int", "logicalType": "date"}
    if pa.types.is_timestamp(kind):
        return {"type": "long", "logicalType": "timestamp-micros"}
    if pa.types.is_decimal(kind):
        return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}
    return AVRO[kind]
