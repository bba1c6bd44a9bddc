"""Records and their JSON schema in, Arrow columns as Airbyte's GCS destination 1.x writes them out."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

RAW_ID, EXTRACTED_AT, GENERATION_ID, META = (
    "_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_generation_id", "_airbyte_meta",
)  # fmt: skip
CHANGE = pa.struct([("field", pa.string()), ("change", pa.string()), ("reason", pa.string())])
META_TYPE = pa.struct([("sync_id", pa.int64()), ("changes", pa.list_(CHANGE))])
OWN_FIELDS = [
    pa.field(RAW_ID, pa.string(), nullable=False),
    pa.field(EXTRACTED_AT, pa.timestamp("ms", tz="UTC"), nullable=False),
    pa.field(GENERATION_ID, pa.int64(), nullable=False),
    pa.field(META, META_TYPE, nullable=False),
]
SIZE, BROKEN = "DESTINATION_FIELD_SIZE_LIMITATION", "DESTINATION_SERIALIZATION_ERROR"
INT64 = range(-(2**63), 2**63)

Row = dict[str, Any]


class Unfit(ValueError):
    """A value that its column can't hold; says Airbyte's reason."""


def integer(value: Any) -> int:
    """An int64, also out of 3.0 or "3"."""
    number = int(value) if not isinstance(value, float) or value.is_integer() else None
    if number is None or isinstance(value, bool):
        raise Unfit(BROKEN)
    if number not in INT64:
        raise Unfit(SIZE)
    return number


def number(value: Any) -> float:
    """A double."""
    if isinstance(value, bool):
        raise Unfit(BROKEN)
    found = float(value)
    if math.isinf(found) and not isinstance(value, float):
        raise Unfit(SIZE)
    return found


def boolean(value: Any) -> bool:
    """True or false and nothing else."""
    if not isinstance(value, bool):
        raise Unfit(BROKEN)
    return value


def moment(value: Any) -> datetime:
    """An instant in UTC; one without an offset is taken as UTC."""
    found = datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def string(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True)
class Field:
    """A source field: its name, and how it is written."""

    name: str
    arrow: pa.DataType
    convert: Callable[[Any], Any]


KINDS: dict[str, tuple[pa.DataType, Callable[[Any], Any]]] = {
    "integer": (pa.int64(), integer),
    "number": (pa.float64(), number),
    "boolean": (pa.bool_(), boolean),
    "date": (pa.date32(), date.fromisoformat),
    "date-time": (pa.timestamp("us", tz="UTC"), moment),
    "object": (pa.string(), as_json),
    "array": (pa.string(), as_json),
    "string": (pa.string(), string),
}


def fields(schema: Row) -> list[Field]:
    """The source fields of a stream."""
    found = []
    for name, described in schema.get("properties", {}).items():
        arrow, convert = KINDS[_kind(described)]
        found.append(Field(name, arrow, convert))
    return found


def arrow_schema(of: list[Field]) -> pa.Schema:
    """Airbyte's own columns, then the source fields, all of them nullable."""
    return pa.schema([*OWN_FIELDS, *(pa.field(f.name, f.arrow) for f in of)])


def convert(data: Row, of: list[Field]) -> tuple[Row, list[dict[str, str]]]:
    """A record's source fields by name, and what had to be nulled."""
    row, changes = {}, []
    for field in of:
        value = data.get(field.name)
        if value is not None:
            try:
                value = field.convert(value)
            except (ValueError, TypeError, OverflowError) as error:
                reason = str(error) if isinstance(error, Unfit) else BROKEN
                changes.append({"field": field.name, "change": "NULLED", "reason": reason})
                value = None
        row[field.name] = value
    return row, changes


def _kind(described: Row) -> str:
    declared = described.get("type", "string")
    types = [t for t in ([declared] if isinstance(declared, str) else declared) if t != "null"]
    if described.get("airbyte_type") == "integer":
        return "integer"
    if len(types) != 1 or types[0] not in KINDS:
        return "string"
    if types[0] == "string" and described.get("format") in ("date", "date-time"):
        return str(described["format"])
    return str(types[0])
