"""How values of each Avro type become Arrow: decoded numbers, bytes and lists in, arrays or JSON text out.

Values are decoded without logical types, as numbers and bytes, which become Arrow's types without Python's dates.
"""

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.storage_types import uuid_text
from millrace.lake.avro import encode_number

Json: TypeAlias = Any  # a part of a schema, or of a value's text
Values: TypeAlias = list[Any]  # decoded values of one field, None where it is null

EXACT = Context(prec=100_000)
MOST_DIGITS, DIGITS_128, UUID_BYTES, DURATION_BYTES, DECIMAL_BYTES = 76, 38, 16, 12, 16
PRIMITIVES: dict[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
INSTANTS: dict[tuple[str, str], tuple[pa.DataType, str]] = {  # with the unit of numpy
    ("int", "date"): (pa.date32(), "D"),
    ("int", "time-millis"): (pa.time32("ms"), "ms"),
    ("long", "time-micros"): (pa.time64("us"), "us"),
    **{("long", f"timestamp-{n}s"): (pa.timestamp(u, "UTC"), u) for n, u in (("milli", "ms"), ("micro", "us"))},
    **{("long", f"local-timestamp-{n}s"): (pa.timestamp(u), u) for n, u in (("milli", "ms"), ("micro", "us"))},
    ("long", "timestamp-nanos"): (pa.timestamp("ns", "UTC"), "ns"),
    ("long", "local-timestamp-nanos"): (pa.timestamp("ns"), "ns"),
}

# A row that polars reads after the last one: it does not tell when a block has more rows than it announces.
END_TEXT, END_NUMBER = "the end of rows", 1_836_280_930
END_BYTES = {
    "boolean": b"\0",
    "int": encode_number(END_NUMBER),
    "long": encode_number(END_NUMBER),
    "float": bytes(4),
    "double": bytes(8),
    "bytes": encode_number(len(END_TEXT)) + END_TEXT.encode(),
    "string": encode_number(len(END_TEXT)) + END_TEXT.encode(),
}
END_VALUES = {"int": END_NUMBER, "long": END_NUMBER, "bytes": END_TEXT.encode(), "string": END_TEXT}


@dataclass(frozen=True)
class Kind:
    """How values of one Avro type are decoded, and what they become.

    Attributes:
        wire: the schema for the decoder: names of our own, no logical types, no defaults.
        arrow: the type in Arrow.
        to_arrow: converts decoded values to it.
        to_json: converts one decoded value, not null, to a part of JSON text.
        plain: the values are of a primitive type, or null, so that every decoder reads them.
        end: the bytes of a value in a row after the last one; None if polars can't read the type, not even past it.
    """

    wire: Json
    arrow: pa.DataType
    to_arrow: Callable[[Values], pa.Array]
    to_json: Callable[[Any], Json]
    plain: bool = False
    end: bytes | None = None


def primitive_kind(name: str) -> Kind:
    """Return the kind of a type without parts."""
    arrow = PRIMITIVES[name]
    to_json: dict[str, Callable[[Any], Json]] = {"bytes": _base64, "float": _finite, "double": _finite}
    end = END_BYTES.get(name)
    return Kind(name, arrow, lambda values: pa.array(values, arrow), to_json.get(name, _same), name != "null", end)


def _same(value: Any) -> Json:
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _finite(value: float) -> Json:
    return value if math.isfinite(value) else str(value)


def fixed_kind(wire: Json, size: int) -> Kind:
    """Return the kind of byte strings of one length."""
    return Kind(wire, pa.binary(size), lambda values: pa.array(values, pa.binary(size)), _base64)


def enum_kind(wire: Json, symbols: list[str]) -> Kind:
    """Return the kind of a symbol: its text."""
    text = dict(zip(wire["symbols"], symbols, strict=True))
    return Kind(wire, pa.string(), lambda values: pa.array(map(text.get, values), pa.string()), text.__getitem__)


def record_kind(wire: Json, fields: dict[str, Kind]) -> Kind:
    """Return the kind of a record: a struct."""
    arrow = pa.struct([(name, kind.arrow) for name, kind in fields.items()])
    columns = [(f"f{n}", kind) for n, kind in enumerate(fields.values())]

    def to_arrow(values: Values) -> pa.Array:
        if not fields:
            return pa.array(values, arrow)
        children = [kind.to_arrow([row and row[key] for row in values]) for key, kind in columns]
        return pa.StructArray.from_arrays(children, fields=list(arrow), mask=_nulls(values))

    def to_json(value: Any) -> Json:
        pairs = ((name, kind, value[f"f{n}"]) for n, (name, kind) in enumerate(fields.items()))
        return {name: None if part is None else kind.to_json(part) for name, kind, part in pairs}

    ends = [kind.end for kind in fields.values()]
    end = None if None in ends or not ends else b"".join(part or b"" for part in ends)
    return Kind(wire, arrow, to_arrow, to_json, end=end)


def wire_record(fields: dict[str, Kind], name: str = "t0") -> Json:
    """Return the schema of a record for the decoder, with fields named by position; the first type is the rows'."""
    wires = [{"name": f"f{n}", "type": kind.wire} for n, kind in enumerate(fields.values())]
    return {"type": "record", "name": name, "fields": wires}


def array_kind(item: Kind) -> Kind:
    """Return the kind of a list."""
    arrow = pa.list_(item.arrow)

    def to_arrow(values: Values) -> pa.Array:
        flat = item.to_arrow([part for row in values if row for part in row])
        return pa.ListArray.from_arrays(_offsets(values), flat, type=arrow, mask=_nulls(values))

    def to_json(value: Any) -> Json:
        return [None if part is None else item.to_json(part) for part in value]

    empty = b"\0" if item.end is not None else None
    return Kind({"type": "array", "items": item.wire}, arrow, to_arrow, to_json, end=empty)


def map_kind(item: Kind) -> Kind:
    """Return the kind of a map from texts."""
    arrow = pa.map_(pa.string(), item.arrow)

    def to_arrow(values: Values) -> pa.Array:
        keys = pa.array([key for row in values if row for key in row], pa.string())
        flat = item.to_arrow([part for row in values if row for part in row.values()])
        return pa.MapArray.from_arrays(_offsets(values), keys, flat, type=arrow, mask=_nulls(values))

    def to_json(value: Any) -> Json:
        return {key: None if part is None else item.to_json(part) for key, part in value.items()}

    return Kind({"type": "map", "values": item.wire}, arrow, to_arrow, to_json)


def _nulls(values: Values) -> pa.Array:
    return pa.array([value is None for value in values], pa.bool_())


def _offsets(values: Values) -> pa.Array:
    lengths = [0, *(len(value or ()) for value in values)]
    return pa.array(np.cumsum(lengths, dtype=np.int64), pa.int32())


def json_kind(wire: Json, to_json: Callable[[Any], Json]) -> Kind:
    """Return a kind whose values become a column of JSON text."""

    def text(value: Any) -> str | None:
        return None if value is None else json.dumps(to_json(value), ensure_ascii=False, allow_nan=False)

    return Kind(wire, pa.string(), lambda values: pa.array(map(text, values), pa.string()), to_json)


def as_json(kind: Kind) -> Kind:
    """Return the same type as a column of JSON text."""
    return replace(json_kind(kind.wire, kind.to_json), plain=kind.plain, end=kind.end)


def uuid_kind(kind: Kind) -> Kind:
    """Return a fixed type of 16 bytes as the text of a UUID."""
    return replace(kind, arrow=pa.string(), to_arrow=lambda v: _texts(v, uuid_text), to_json=uuid_text)


def _texts(values: Values, text: Callable[[Any], str]) -> pa.Array:
    return pa.array((None if value is None else text(value) for value in values), pa.string())


def instant_kind(kind: Kind, arrow: pa.DataType, unit: str) -> Kind:
    """Return a number as the date, time or timestamp that it means; numpy prints it, in any year."""
    storage = kind.arrow

    def to_json(value: int) -> Json:
        text = str(np.array(value, f"datetime64[{unit}]"))
        if pa.types.is_timestamp(arrow):
            return f"{text}Z" if arrow.tz else text
        return text.partition("T")[2] or text

    return replace(kind, arrow=arrow, to_arrow=lambda v: pa.array(v, storage).view(arrow), to_json=to_json)


def decimal_kind(kind: Kind, precision: Any, scale: Any) -> Kind:
    """Return bytes as a decimal, as text if Arrow has none so long; an invalid one stays bytes."""
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision or not precision:
        return kind

    def number(raw: bytes) -> Decimal:
        return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-scale, EXACT)

    def text(raw: bytes) -> str:
        return f"{number(raw):f}"

    if precision > MOST_DIGITS:
        return replace(kind, plain=False, arrow=pa.string(), to_arrow=lambda v: _texts(v, text), to_json=text)
    arrow = pa.decimal128(precision, scale) if precision <= DIGITS_128 else pa.decimal256(precision, scale)

    def to_arrow(values: Values) -> pa.Array:
        return pa.array([None if value is None else number(value) for value in values], arrow)

    plain = kind.plain and precision <= DIGITS_128
    return replace(kind, plain=plain, arrow=arrow, to_arrow=to_arrow, to_json=text)


def from_plain(column: pa.Array, arrow: pa.DataType) -> pa.Array:
    """Convert decoded values of a plain kind to its type in Arrow."""
    return _decimals(column, arrow) if pa.types.is_decimal128(arrow) else column.cast(arrow)


def _decimals(column: pa.BinaryArray, arrow: pa.DataType) -> pa.Array:
    """Convert numbers of at most 16 bytes, the most significant first, to decimals.

    Raises:
        ValueError: a number is longer.
    """
    lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy()
    if len(lengths) and lengths.max() > DECIMAL_BYTES:
        raise ValueError(f"a decimal has {lengths.max()} bytes, and its type at most {DECIMAL_BYTES}")
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column)]
    letters = np.frombuffer(data or b"", np.uint8)
    numbers = np.zeros((len(column), DECIMAL_BYTES), np.uint8)
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        read = letters[starts[rows][:, None] + np.arange(length)]
        numbers[rows] = np.where(read[:, :1] >= 0x80, 0xFF, 0)
        numbers[rows, DECIMAL_BYTES - length :] = read
    numbers = np.ascontiguousarray(numbers[:, ::-1])
    plain = pa.Array.from_buffers(arrow, len(column), [None, pa.py_buffer(numbers)])
    return pc.if_else(column.is_valid(), plain, pa.scalar(None, arrow))
