"""Writes records as the GCS destination 1.x does: one folder per sync, Parquet or Avro, Airbyte's columns first."""

import io
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Json = dict[str, Any]
Upload = Callable[[str, bytes, dict[str, str]], None]
FLUSH_ROWS = 200_000
META = pa.struct(
    [
        ("sync_id", pa.int64()),
        ("changes", pa.list_(pa.struct([("field", pa.string()), ("change", pa.string()), ("reason", pa.string())]))),
    ]
)
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
        self._properties: Json = stream["json_schema"]["properties"]
        self._schema = pa.schema(OWN + [pa.field(n, arrow_type(p)) for n, p in self._properties.items()])
        self._job_id, self._generation, self._upload = job_id, generation, upload
        self._format = config.get("format", {"format_type": "Parquet"})
        self._folder = folder(config["gcs_path_format"], namespace, self.name, job_id)
        self._part = 0
        self._buffer: list[Json] = []

    def add(self, data: Json, emitted_at: float) -> None:
        """Take one record; a value that does not fit its type becomes null, with an entry in `changes`."""
        changes: list[Json] = []
        row: Json = {}
        for name, declared in self._properties.items():
            try:
                row[name] = convert(data.get(name), declared)
            except (ValueError, TypeError):
                row[name] = None
                changes.append({"field": name, "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"})
        row["_airbyte_raw_id"] = str(uuid.uuid4())
        row["_airbyte_extracted_at"] = int(emitted_at)
        row["_airbyte_generation_id"] = self._generation
        row["_airbyte_meta"] = {"sync_id": self._job_id, "changes": changes}
        self._buffer.append(row)
        if len(self._buffer) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Upload what was collected; nothing is written for no rows."""
        if not self._buffer:
            return
        table = pa.Table.from_pylist(self._buffer, self._schema)
        avro = self._format["format_type"] == "Avro"
        data = to_avro(table, self._format) if avro else to_parquet(table, self._format)
        name = f"{self._folder}{self._part}{'.avro' if avro else '.parquet'}"
        self._upload(name, data, {"ab-generation-id": str(self._generation)})
        self.rows += len(self._buffer)
        self.bytes += len(data)
        self._part += 1
        self._buffer.clear()


def folder(template: str, namespace: str, stream: str, job_id: int) -> str:
    """The destination's path format, filled."""
    today = datetime.now(UTC)
    values = {
        "NAMESPACE": namespace, "STREAM_NAME": stream, "SYNC_ID": job_id, "YEAR": today.year, "MONTH": today.month,
        "DAY": today.day, "EPOCH": int(time.time() * 1000),
    }  # fmt: skip
    for name, value in values.items():
        template = template.replace("${" + name + "}", str(value))
    return template.lstrip("/")


def arrow_type(declared: Json) -> pa.DataType:
    """Column type of a JSON schema property."""
    kinds = declared.get("type", "string")
    kind = next((k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"), "string")
    if kind == "string":
        return {"date": pa.date32(), "date-time": pa.timestamp("us", "UTC")}.get(
            str(declared.get("format")), pa.string()
        )
    return {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}.get(kind, pa.string())


def convert(value: Any, declared: Json) -> Any:
    """A JSON value as its column's type. Raises ValueError or TypeError when it does not fit."""
    if value is None:
        return None
    kind = arrow_type(declared)
    if pa.types.is_date(kind):
        return date.fromisoformat(value)
    if pa.types.is_timestamp(kind):
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    if pa.types.is_integer(kind):
        if isinstance(value, bool) or int(value) != value or abs(value) >= 2**63:
            raise ValueError(value)
        return int(value)
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_boolean(kind):
        return bool(value)
    return value if isinstance(value, str) else json.dumps(value)


def to_parquet(table: pa.Table, config: Json) -> bytes:
    """A Parquet file."""
    codec = config.get("compression_codec", "SNAPPY").lower()
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none" if codec == "uncompressed" else codec)
    return buffer.getvalue()


AVRO = {pa.int64(): "long", pa.float64(): "double", pa.bool_(): "boolean", pa.string(): "string"}


def to_avro(table: pa.Table, config: Json) -> bytes:
    """An Avro file."""
    import fastavro

    change = {"type": "record", "name": "change", "fields": [
        {"name": n, "type": ["null", "string"]} for n in ("field", "change", "reason")]}  # fmt: skip
    meta = {"type": "record", "name": "meta", "fields": [
        {"name": "sync_id", "type": "long"},
        {"name": "changes", "type": {"type": "array", "items": change}}]}  # fmt: skip
    fields: list[Json] = [
        {"name": "_airbyte_raw_id", "type": "string"},
        {"name": "_airbyte_extracted_at", "type": "long"},
        {"name": "_airbyte_generation_id", "type": ["null", "long"]},
        {"name": "_airbyte_meta", "type": meta},
    ]
    for field in table.schema:
        if not field.name.startswith("_airbyte_"):
            fields.append({"name": field.name, "type": ["null", avro_type(field.type)], "default": None})
    codec = config.get("compression_codec", {"codec": "null"})
    name = codec["codec"] if isinstance(codec, dict) else str(codec)
    buffer = io.BytesIO()
    schema = fastavro.parse_schema({"type": "record", "name": "record", "fields": fields})
    wanted = {"no compression": "null", "null": "null", "deflate": "deflate", "snappy": "snappy"}[name.lower()]
    fastavro.writer(buffer, schema, table.to_pylist(), codec=wanted)
    return buffer.getvalue()


def avro_type(kind: pa.DataType) -> Any:
    """Avro type of a column."""
    if pa.types.is_date(kind):
        return {"type": "int", "logicalType": "date"}
    if pa.types.is_timestamp(kind):
        return {"type": "long", "logicalType": "timestamp-micros"}
    return AVRO[kind]
