"""The rule of each type: Arrow and contract type in; whether values fit, and a new column's type, out."""

from collections.abc import Callable

import pyarrow as pa

from millrace.contracts.widening import MOST_DIGITS
from millrace.domain.errors import FileRejected
from millrace.domain.types import DECIMAL

ROUNDED = " half_even"  # after a decimal, as `text` stands for a string of any type
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
# Contract types that hold fewer values than their Arrow type, and which: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types
HELD = {
    "date": "years 1 to 9999",
    "timestamp": "microseconds of the years 1 to 9999",
    "json": "at most 500 levels, each key of an object once, and numbers that an integer of 64 bits or a double keeps",
}

# By family of Arrow types: the type of a new column, and how its values fit each contract type: `safe` (all do),
# `check` (a row whose value does not fit is quarantined) or `-` (the file is refused).
TABLE = """
family        new            string  int64  float64  decimal  bool  date   timestamp  json   bytes  text
null          -              safe    safe   safe     safe     safe  safe   safe       safe   safe   safe
text          string         safe    -      -        check    -     -      -          check  -      safe
uuid          string         safe    -      -        -        -     -      -          -      -      safe
json          json           safe    -      -        -        -     -      -          check  -      safe
integer       int64          -       safe   check    check    -     -      -          -      -      safe
uint64        decimal(20,0)  -       check  check    check    -     -      -          -      -      safe
float         float64        -       check  safe     check    -     -      -          -      -      safe
decimal       decimal(p,s)   -       check  -        check    -     -      -          -      -      safe
wide_decimal  string         safe    check  -        check    -     -      -          -      -      safe
bool          bool           -       -      -        -        safe  -      -          -      -      safe
date          date           -       -      -        -        -     check  check      -      -      safe
microseconds  timestamp      -       -      -        -        -     -      check      -      -      safe
timestamp     timestamp      -       -      -        -        -     -      check      -      -      safe
time          string         check   -      -        -        -     -      -          -      -      check
duration      string         safe    -      -        -        -     -      -          -      -      safe
interval      string         safe    -      -        -        -     -      -          -      -      safe
binary        bytes          -       -      -        -        -     -      -          -      safe   safe
nested        json           -       -      -        -        -     -      -          check  -      check
unreadable    -              -       -      -        -        -     -      -          -      -      -
"""
_HEADER, *_LINES = (line.split() for line in TABLE.strip().splitlines())
RULES: dict[str, dict[str, str]] = {line[0]: dict(zip(_HEADER[1:], line[1:], strict=True)) for line in _LINES}


def _is_wide(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind) and decimal_size(kind)[0] > MOST_DIGITS)


def _is_unreadable(kind: pa.DataType) -> bool:
    """Return true for two old intervals, of which pyarrow can't make a column."""
    return kind.id in (pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME)


# The first test that holds names the family of a type, once dictionaries, runs and extensions are unwrapped.
FAMILIES: tuple[tuple[str, Callable[[pa.DataType], bool]], ...] = (
    ("null", pa.types.is_null),
    ("uuid", lambda kind: isinstance(kind, pa.UuidType)),
    ("json", lambda kind: isinstance(kind, pa.JsonType)),
    ("text", lambda kind: is_text(kind)),
    ("uint64", pa.types.is_uint64),
    ("integer", pa.types.is_integer),
    ("float", pa.types.is_floating),
    ("wide_decimal", _is_wide),
    ("decimal", pa.types.is_decimal),
    ("bool", pa.types.is_boolean),
    ("date", pa.types.is_date),
    ("microseconds", lambda kind: pa.types.is_timestamp(kind) and kind.unit == "us"),
    ("timestamp", pa.types.is_timestamp),
    ("time", pa.types.is_time),
    ("duration", pa.types.is_duration),
    ("interval", pa.types.is_interval),
    ("unreadable", _is_unreadable),
    ("binary", lambda kind: is_binary(kind)),
    ("nested", pa.types.is_nested),
)


def is_text(kind: pa.DataType) -> bool:
    """Return true for text of every layout."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_binary(kind: pa.DataType) -> bool:
    """Return true for bytes of every layout."""
    t = pa.types
    return any(holds(kind) for holds in (t.is_binary, t.is_large_binary, t.is_fixed_size_binary, t.is_binary_view))


def unwrapped(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values behind dictionaries, runs and extension types; UUID and JSON stay what they are."""
    while True:
        if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        elif isinstance(kind, pa.Bool8Type):
            return pa.bool_()
        elif isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType | pa.JsonType):
            kind = kind.storage_type
        else:
            return kind


def family(kind: pa.DataType) -> str | None:
    """Return the name of a type's line in the table; None for a type that has none."""
    values = unwrapped(kind)
    return next((name for name, holds in FAMILIES if holds(values)), None)


def is_rounded(declared: str) -> bool:
    """Return true for a decimal whose values may be rounded."""
    return declared.endswith(ROUNDED)


def arrow_type(declared: str) -> pa.DataType:
    """Return the Arrow type of a contract type."""
    match = DECIMAL.match(declared.removesuffix(ROUNDED))
    if match:
        precision, scale = int(match[1]), int(match[2])
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return PLAIN[declared]


def fits(file: pa.DataType, declared: str) -> str:
    """Compare a file's type with the contract's: `same`, `safe` (every value fits), `check` (some may not) or `no`."""
    declared = declared.removesuffix(ROUNDED)
    if declared not in HELD and file == arrow_type(declared):
        return "same"
    name = family(file)
    answer = RULES[name]["decimal" if DECIMAL.match(declared) else declared] if name else "-"
    return "no" if answer == "-" else answer


def decimal_size(kind: pa.DataType) -> tuple[int, int]:
    """Return (digits, digits after the point) that hold a decimal type whose scale may be negative or the larger."""
    return max(kind.precision, kind.scale) - min(kind.scale, 0), max(kind.scale, 0)


def natural_type(kind: pa.DataType) -> str | None:
    """Return the contract type of a new column; None for one without values, which has no type yet.

    Raises:
        FileRejected: the table has no type for it.
    """
    name = family(kind)
    if name in (None, "unreadable"):
        raise FileRejected(f"file.type: the merge has no rule for the Arrow type {kind}; write another type")
    if name == "decimal":
        digits, scale = decimal_size(unwrapped(kind))
        return f"decimal({digits},{scale})"
    return RULES[name]["new"] if name and name != "null" else None


def unranged(kind: pa.DataType) -> pa.DataType:
    """Return a plain type with its times of day and date64 as integers.

    Arrow calls a value of these types invalid for its size alone, such as 24:00:00, and would refuse the whole file.
    Validate a column cast to this type instead: `conform_column` judges such values row by row.
    """
    t = pa.types
    if t.is_time32(kind):
        return pa.int32()
    if t.is_time64(kind) or t.is_date64(kind):
        return pa.int64()
    if t.is_map(kind):
        return pa.map_(_unranged_field(kind.key_field), _unranged_field(kind.item_field))
    if t.is_list(kind):
        return pa.list_(_unranged_field(kind.value_field))
    return pa.struct([_unranged_field(item) for item in kind]) if t.is_struct(kind) else kind


def _unranged_field(item: pa.Field) -> pa.Field:
    return item.with_type(unranged(item.type))
