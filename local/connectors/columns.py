"""Texts as a database writes them in; Arrow columns of contract types out, exact or left as text."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from millrace.domain.types import DECIMAL

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
BEYOND = {"date": (1 << 31) - 1, "timestamp": (1 << 63) - 1}  # a value that no table takes; its row is quarantined
SCHEMAS: dict[str, tuple[str, str]] = {  # a contract type as JSON schema: type and format
    "int64": ("integer", ""),
    "float64": ("number", ""),
    "bool": ("boolean", ""),
    "date": ("string", "date"),
    "timestamp": ("string", "date-time"),
}
UTC_US = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Kind:
    """The type of a column in the contract, and how its values are written: `hex` for bytes, `local` without a zone."""

    contract: str
    local: bool = False

    @property
    def arrow(self) -> pa.DataType:
        """Return the column's type in files."""
        if match := DECIMAL.match(self.contract):
            digits, scale = int(match[1]), int(match[2])
            return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)
        plain = {"int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "bytes": pa.binary()}
        times = {"date": pa.date32(), "timestamp": pa.timestamp("us") if self.local else UTC_US}
        return (plain | times).get(self.contract, pa.string())


def read_csv(data: bytes, names: list[str]) -> list[pa.Array]:
    """Return the columns of CSV rows as texts; a field without quotes and characters is NULL."""
    table = csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(column_names=[str(n) for n in range(len(names))], block_size=len(data) + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            column_types={str(n): pa.string() for n in range(len(names))},
        ),
    )
    return [column.combine_chunks() for column in table.columns]


def typed(texts: pa.Array, kind: Kind) -> pa.Array:
    """Return texts as their contract type.

    Numbers with more digits than it has, and NaN, stay texts in the whole column, which the merge then judges row by
    row. `infinity` becomes the last or first instant that every warehouse holds, and a time beyond those an impossible
    one, for which the merge quarantines its row.
    """
    target = kind.arrow
    if target == pa.string():
        return texts
    if target == pa.binary():
        return pa.array(
            [None if t is None else bytes.fromhex(t.removeprefix("\\x")) for t in texts.to_pylist()], target
        )
    if target == pa.bool_():
        return pc.is_in(texts, pa.array(["t", "true", "1"])) if not texts.null_count else _truths(texts)
    try:
        return texts.cast(target)
    except pa.ArrowInvalid:
        if pa.types.is_temporal(target):
            return pa.array([_instant(text, target) for text in texts.to_pylist()], _integers(target)).view(target)
        return texts


def _truths(texts: pa.Array) -> pa.Array:
    return pc.if_else(texts.is_valid(), pc.is_in(texts, pa.array(["t", "true", "1"])), pa.scalar(None, pa.bool_()))


def _integers(target: pa.DataType) -> pa.DataType:
    return pa.int32() if pa.types.is_date(target) else pa.int64()


def _instant(text: str | None, target: pa.DataType) -> int | None:
    """Return days or microseconds since 1970."""
    if text is None:
        return None
    day = pa.types.is_date(target)
    read: Callable[[str], date] = date.fromisoformat if day else datetime.fromisoformat
    if text in ("infinity", "-infinity"):
        end: date = LAST if text == "infinity" else FIRST
        return _since_1970(end.date() if day and isinstance(end, datetime) else end)
    try:
        return _since_1970(read(text))
    except ValueError:  # a year beyond 9999, or BC
        return BEYOND["date" if day else "timestamp"]


def _since_1970(value: date) -> int:
    if not isinstance(value, datetime):
        return value.toordinal() - date(1970, 1, 1).toordinal()
    value = value if value.tzinfo else value.replace(tzinfo=UTC)
    since = value - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
