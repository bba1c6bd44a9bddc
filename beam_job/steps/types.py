"""The rule of each type: Arrow and contract type in; whether values fit, and a new column's type, out."""

from collections.abc import Callable

import pyarrow as pa

from millrace.domain.types import DECIMAL

UTC_US = pa.timestamp("us", "UTC")
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


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_binary(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_timestamp_us(kind: pa.DataType) -> bool:
    """Return true for timestamps of microseconds or coarser ones."""
    return bool(pa.types.is_timestamp(kind) and kind.unit in ("s", "ms", "us"))


def _is_any(_kind: pa.DataType) -> bool:
    return True


# By contract type: file types that fit it; the first rule that holds decides, and a type without a rule does not fit.
FITS: dict[str, tuple[tuple[Callable[[pa.DataType], bool], str], ...]] = {
    "string": ((_is_text, "safe"), (pa.types.is_time, "safe")),
    "int64": (
        (pa.types.is_uint64, "check"),
        (pa.types.is_integer, "safe"),
        (pa.types.is_floating, "check"),
        (pa.types.is_decimal, "check"),
    ),
    "float64": ((pa.types.is_floating, "safe"), (pa.types.is_integer, "check")),
    "decimal": ((pa.types.is_decimal, "check"), (pa.types.is_integer, "check")),
    "bool": (),
    "date": ((pa.types.is_date, "safe"),),
    "timestamp": ((_is_timestamp_us, "safe"), (pa.types.is_timestamp, "check"), (pa.types.is_date, "safe")),
    "json": ((_is_text, "check"), (pa.types.is_nested, "check")),
    "bytes": ((_is_binary, "safe"),),
    "text": ((pa.types.is_nested, "check"), (_is_binary, "no"), (_is_any, "safe")),
}


def arrow_type(declared: str) -> pa.DataType:
    """Return the Arrow type of a contract type."""
    match = DECIMAL.match(declared)
    if match:
        precision, scale = int(match[1]), int(match[2])
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return PLAIN[declared]


def fits(file: pa.DataType, declared: str) -> str:
    """Compare a file's type with the contract's: `same`, `safe` (every value fits), `check` (some may not) or `no`."""
    if pa.types.is_null(file):
        return "safe"
    if declared != "json" and file == arrow_type(declared):
        return "same"
    rules = FITS["decimal" if DECIMAL.match(declared) else declared]
    return next((answer for holds, answer in rules if holds(file)), "no")


def natural_type(kind: pa.DataType) -> str | None:
    """Return the contract type of a file's type; None for a column without values or a type without a match."""
    t = pa.types
    if t.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if kind.scale >= 0 else None
    for holds, declared in (
        (t.is_uint64, "decimal(20,0)"),
        (t.is_integer, "int64"),
        (t.is_floating, "float64"),
        (t.is_boolean, "bool"),
        (t.is_date, "date"),
        (t.is_timestamp, "timestamp"),
        (t.is_nested, "json"),
        (t.is_string, "string"),
        (t.is_large_string, "string"),
        (t.is_time, "string"),
        (t.is_binary, "bytes"),
        (t.is_large_binary, "bytes"),
        (t.is_fixed_size_binary, "bytes"),
    ):
        if holds(kind):
            return declared
    return None
