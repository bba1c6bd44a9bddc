"""A file's columns in, columns of the contract's types out; what does not fit is named, never bent."""

import json
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contracts.stream import StreamContract
from millrace.domain.errors import FileRejected
from millrace.domain.types import DECIMAL

EXTRACTED_AT, GENERATION_ID = "_airbyte_extracted_at", "_airbyte_generation_id"
EMITTED_AT = "_airbyte_emitted_at"  # what destinations before 1.0 call it
DELETED_AT = "_ab_cdc_deleted_at"
TOLD = (EXTRACTED_AT, EMITTED_AT, GENERATION_ID, DELETED_AT)  # what Airbyte tells of a row, and the merge uses
UTC_US = pa.timestamp("us", "UTC")
EXACT_INT = 1 << 53

Mask = npt.NDArray[np.bool_]
PLAIN: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": UTC_US,
    "json": pa.string(),
    "bytes": pa.binary(),
    "text": pa.string(),  # a string column that takes values of any type
}


def arrow_type(declared: str) -> pa.DataType:
    """Arrow type of a contract type."""
    match = DECIMAL.match(declared)
    if match:
        precision, scale = int(match[1]), int(match[2])
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return PLAIN[declared]


@dataclass
class Refused:
    """Rows that break the contract: reason and detail by position."""

    reasons: dict[int, tuple[str, str]] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)

    def add(self, bad: Mask, reason: str, detail: str, first: int = 0) -> None:
        """Refuse the rows where `bad` is true, of which the first is at `first`; a row's first reason stays."""
        for row in np.flatnonzero(bad):
            self.reasons.setdefault(first + int(row), (reason, detail))


def column_types(contract: StreamContract) -> dict[str, str]:
    """The contract's columns, and the log columns that order its rows, with their types."""
    declared = {n: "text" if c.any_type else c.type for n, c in contract.columns.items()}
    return declared | {n: contract.order_types[n] for n in contract.order}


def fits(file: pa.DataType, declared: str) -> str:
    """Whether a file's type is the contract's (`same`), always fits (`safe`), fits by value (`check`) or not (`no`)."""
    wanted, t = arrow_type(declared), pa.types
    text = t.is_string(file) or t.is_large_string(file) or t.is_string_view(file)
    if declared == "json":
        return "safe" if t.is_null(file) else "check" if text or t.is_nested(file) else "no"
    if file == wanted:
        return "same"
    if declared == "text" and not t.is_null(file):
        return "check" if t.is_nested(file) else "no" if not text and _is_binary(file) else "safe"
    if t.is_time(file) and t.is_string(wanted):
        return "safe"
    if t.is_null(file) or (text and t.is_string(wanted)):
        return "safe"
    if t.is_integer(file):
        if t.is_integer(wanted):
            return "check" if t.is_uint64(file) else "safe"
        return "check" if t.is_floating(wanted) or t.is_decimal(wanted) else "no"
    if t.is_floating(file):
        if t.is_floating(wanted):
            return "safe"
        return "check" if t.is_integer(wanted) else "no"
    if t.is_decimal(file):
        return "check" if t.is_decimal(wanted) or t.is_integer(wanted) else "no"
    if t.is_date(file):
        return "safe" if t.is_date(wanted) or t.is_timestamp(wanted) else "no"
    if t.is_timestamp(file) and t.is_timestamp(wanted):
        return "safe" if file.unit in ("s", "ms", "us") else "check"
    return "safe" if t.is_binary(wanted) and _is_binary(file) else "no"


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_binary(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind))


def check_types(schema: pa.Schema, contract: StreamContract, where: str) -> None:
    """Refuse a file whose types contradict the contract, or that lacks a key or order column.

    Raises:
        FileRejected: names the object and every column.
    """
    wrong = []
    for name, declared in column_types(contract).items():
        position = schema.get_field_index(name)
        if position < 0:
            if name in contract.key or name in contract.order:
                wrong.append(f"{name} is missing")
        elif fits(schema.field(position).type, declared) == "no":
            wrong.append(f"{name} is {schema.field(position).type}, the contract says {declared}")
    if wrong:
        raise FileRejected(f"{where}: {'; '.join(wrong)}")


def checked_columns(schema: pa.Schema, contract: StreamContract) -> list[str]:
    """Columns whose values decide whether a row fits."""
    return [
        name
        for name, declared in column_types(contract).items()
        if (i := schema.get_field_index(name)) >= 0 and fits(schema.field(i).type, declared) == "check"
    ]


def conform_column(column: pa.Array, declared: str) -> tuple[pa.Array, Mask | None]:
    """A column as the contract's type; the mask tells values that do not fit, which are NULL in it."""
    wanted, kind = arrow_type(declared), fits(column.type, declared)
    if kind == "same":
        return column, None
    if kind == "safe":
        return _cast_safe(column, wanted), None
    return _to_json(column) if declared in ("json", "text") else _cast_checked(column, wanted)


def _cast_safe(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if column.type == wanted:
        return column
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    if pa.types.is_date(column.type) and pa.types.is_timestamp(wanted):
        return column.cast(pa.timestamp("us")).cast(wanted)
    return column.cast(wanted)


def _to_json(column: pa.Array) -> tuple[pa.Array, Mask]:
    """Texts that are JSON as they are, nested values as JSON; a warehouse refuses anything else, and a whole batch."""
    values = column.to_pylist()
    texts = [None if value is None else _json_text(value) for value in values]
    bad = [text is None and value is not None for text, value in zip(texts, values, strict=True)]
    return pa.array(texts, pa.string()), np.array(bad, np.bool_)


def _json_text(value: object) -> str | None:
    """JSON (RFC 8259) of a value, None when there is none: NaN, half a surrogate pair, text that is not JSON."""
    try:
        if not isinstance(value, str):
            return json.dumps(value, default=str, sort_keys=True, allow_nan=False)
        found = json.loads(value, parse_constant=_no_constant)
        if "\\ud" in value.lower():
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _cast_checked(column: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, Mask]:
    """Cast what is lossless, and tell what is not."""
    fine = _lossless(column, wanted)
    kept = pc.if_else(fine, column, pa.scalar(None, column.type))
    if pa.types.is_integer(column.type) and pa.types.is_decimal(wanted):
        kept = kept.cast(pa.string())  # a cast of integers asks for room for the widest of their type
    cast = kept.cast(wanted, safe=not (pa.types.is_timestamp(wanted) or pa.types.is_floating(wanted)))
    return cast, ~pc.or_(fine, column.is_null()).to_numpy(zero_copy_only=False)


def _lossless(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    t = pa.types
    if t.is_integer(column.type) and t.is_floating(wanted):
        fine = _within(column, EXACT_INT)
    elif t.is_integer(column.type) and t.is_decimal(wanted):
        fine = _within(column, 10 ** (wanted.precision - wanted.scale) - 1)
    elif t.is_floating(column.type):
        column = column.cast(pa.float64())
        whole = pc.equal(pc.floor(column), column)
        fine = pc.and_(whole, pc.and_(pc.greater_equal(column, -(2.0**63)), pc.less(column, 2.0**63)))
    elif t.is_uint64(column.type) and t.is_integer(wanted):
        fine = _within(column, (1 << 63) - 1)
    elif t.is_timestamp(column.type):
        nanos = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        fine = pa.array(nanos % 1000 == 0)
    else:
        fine = pa.array([_fits_decimal(value, wanted) for value in column], pa.bool_())
    return pc.fill_null(fine, False)


def _within(column: pa.Array, limit: int) -> pa.Array:
    """Integers from -limit to limit; Arrow compares no large uint64 with a signed number."""
    if pa.types.is_unsigned_integer(column.type):
        return pc.less_equal(column.cast(pa.uint64()), pa.scalar(min(limit, (1 << 64) - 1), pa.uint64()))
    low, high = pa.scalar(max(-limit, -1 << 63), pa.int64()), pa.scalar(min(limit, (1 << 63) - 1), pa.int64())
    wide = column.cast(pa.int64())
    return pc.and_(pc.greater_equal(wide, low), pc.less_equal(wide, high))


def _fits_decimal(value: pa.Scalar, wanted: pa.DataType) -> bool:
    try:
        value.cast(wanted)
    except pa.ArrowInvalid:
        return False
    return True


def extracted_at(table: pa.Table) -> pa.Array:
    """When Airbyte extracted each row, in either of its layouts: a timestamp, or milliseconds in an integer."""
    name = EXTRACTED_AT if EXTRACTED_AT in table.column_names else EMITTED_AT
    column = table.column(name).combine_chunks()
    if pa.types.is_integer(column.type):
        column = column.cast(pa.int64()).cast(pa.timestamp("ms"))
    return _cast_safe(column, UTC_US)
