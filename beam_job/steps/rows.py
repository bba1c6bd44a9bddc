"""A file's columns in, columns of the contract's types out; a value that does not fit is reported, never changed."""

import json
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.types import UTC_US, arrow_type, fits
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import FileRejected

EXTRACTED_AT, GENERATION_ID = "_airbyte_extracted_at", "_airbyte_generation_id"
EMITTED_AT = "_airbyte_emitted_at"  # its name in destinations before 1.0
DELETED_AT = "_ab_cdc_deleted_at"
AIRBYTE_COLUMNS = (EXTRACTED_AT, EMITTED_AT, GENERATION_ID, DELETED_AT)  # Airbyte's columns that the merge uses
EXACT_INT = 1 << 53

Mask = npt.NDArray[np.bool_]


@dataclass
class QuarantinedRows:
    """Rows that break the contract: reason and detail by position, and the columns that do not fit."""

    reasons: dict[int, tuple[str, str]] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)

    def add(self, invalid: Mask, reason: str, detail: str, first: int = 0) -> None:
        """Add the rows where `invalid` is true, counting from `first`; the first reason of a row stays."""
        for row in np.flatnonzero(invalid):
            self.reasons.setdefault(first + int(row), (reason, detail))


def column_types(contract: StreamContract) -> dict[str, str]:
    """Return the types of the contract's columns and of the log columns that order its rows."""
    declared = {n: "text" if c.any_type else c.type for n, c in contract.columns.items()}
    return declared | {n: contract.order_types[n] for n in contract.order}


def check_types(schema: pa.Schema, contract: StreamContract, where: str) -> None:
    """Reject a file whose types contradict the contract, or that lacks a key or order column.

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
    """Return the columns whose values decide whether a row fits."""
    return [
        name
        for name, declared in column_types(contract).items()
        if (i := schema.get_field_index(name)) >= 0 and fits(schema.field(i).type, declared) == "check"
    ]


def conform_column(column: pa.Array, declared: str) -> tuple[pa.Array, Mask | None]:
    """Convert a column to the contract's type; the mask marks values that do not fit, which become NULL."""
    target, kind = arrow_type(declared), fits(column.type, declared)
    if kind == "same":
        return column, None
    if kind == "safe":
        return _cast_safe(column, target), None
    return _to_json(column) if declared in ("json", "text") else _cast_checked(column, target)


def _cast_safe(column: pa.Array, target: pa.DataType) -> pa.Array:
    if column.type == target:
        return column
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    if pa.types.is_date(column.type) and pa.types.is_timestamp(target):
        return column.cast(pa.timestamp("us")).cast(target)
    return column.cast(target)


def _to_json(column: pa.Array) -> tuple[pa.Array, Mask]:
    """Keep texts that are JSON and serialize nested values; the mask marks the rest, which would fail a whole load."""
    values = column.to_pylist()
    texts = [None if value is None else _json_text(value) for value in values]
    invalid = [text is None and value is not None for text, value in zip(texts, values, strict=True)]
    return pa.array(texts, pa.string()), np.array(invalid, np.bool_)


def _json_text(value: object) -> str | None:
    """Return a value as JSON (RFC 8259); None for NaN, half a surrogate pair and text that is not JSON."""
    try:
        if not isinstance(value, str):
            return json.dumps(value, default=str, sort_keys=True, allow_nan=False)
        parsed = json.loads(value, parse_constant=_no_constant)
        if "\\ud" in value.lower():
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _cast_checked(column: pa.Array, target: pa.DataType) -> tuple[pa.Array, Mask]:
    """Cast the values that can be cast without loss; the mask marks the others."""
    lossless = _lossless(column, target)
    values = pc.if_else(lossless, column, pa.scalar(None, column.type))
    if pa.types.is_integer(column.type) and pa.types.is_decimal(target):
        values = values.cast(pa.string())  # Arrow casts integers only to decimals that hold the widest of their type
    cast = values.cast(target, safe=not (pa.types.is_timestamp(target) or pa.types.is_floating(target)))
    return cast, ~pc.or_(lossless, column.is_null()).to_numpy(zero_copy_only=False)


def _lossless(column: pa.Array, target: pa.DataType) -> pa.Array:
    t = pa.types
    if t.is_integer(column.type) and t.is_floating(target):
        fine = _within(column, EXACT_INT)
    elif t.is_integer(column.type) and t.is_decimal(target):
        fine = _within(column, 10 ** (target.precision - target.scale) - 1)
    elif t.is_floating(column.type):
        column = column.cast(pa.float64())
        whole = pc.equal(pc.floor(column), column)
        fine = pc.and_(whole, pc.and_(pc.greater_equal(column, -(2.0**63)), pc.less(column, 2.0**63)))
    elif t.is_uint64(column.type) and t.is_integer(target):
        fine = _within(column, (1 << 63) - 1)
    elif t.is_timestamp(column.type):
        nanos = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        fine = pa.array(nanos % 1000 == 0)
    else:
        fine = pa.array([_fits_decimal(value, target) for value in column], pa.bool_())
    return pc.fill_null(fine, False)


def _within(column: pa.Array, limit: int) -> pa.Array:
    """Compare integers with -limit and limit; Arrow can not compare a large uint64 with a signed number."""
    if pa.types.is_unsigned_integer(column.type):
        return pc.less_equal(column.cast(pa.uint64()), pa.scalar(min(limit, (1 << 64) - 1), pa.uint64()))
    low, high = pa.scalar(max(-limit, -1 << 63), pa.int64()), pa.scalar(min(limit, (1 << 63) - 1), pa.int64())
    wide = column.cast(pa.int64())
    return pc.and_(pc.greater_equal(wide, low), pc.less_equal(wide, high))


def _fits_decimal(value: pa.Scalar, target: pa.DataType) -> bool:
    try:
        value.cast(target)
    except pa.ArrowInvalid:
        return False
    return True


def extracted_at(table: pa.Table) -> pa.Array:
    """Return when Airbyte extracted each row; its column is a timestamp, or milliseconds in an integer."""
    name = EXTRACTED_AT if EXTRACTED_AT in table.column_names else EMITTED_AT
    column = table.column(name).combine_chunks()
    if pa.types.is_integer(column.type):
        column = column.cast(pa.int64()).cast(pa.timestamp("ms"))
    return _cast_safe(column, UTC_US)
