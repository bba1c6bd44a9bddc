"""Text of an order column in; integers that sort as the text means, and a mask of texts without that meaning, out."""

import re
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.iso_text import read_instant
from beam_job.steps.rows import Mask
from millrace.contracts.stream import StreamContract

INT64 = range(-(1 << 63), 1 << 63)
FRACTION = re.compile(r"\.(\d{1,9})")
LOG_FILE = re.compile(r"^.*\.(\d{1,18})$")
LOG_POSITION = re.compile(r"^([0-9A-Fa-f]{1,8})(?::([0-9A-Fa-f]{1,8}):([0-9A-Fa-f]{1,8})|/([0-9A-Fa-f]{1,8}))$")
INTEGER = re.compile(r"^[+-]?\d{1,19}$")
Parts = tuple[int, ...] | None


def order_columns(columns: Mapping[str, pa.Array], contract: StreamContract) -> tuple[list[pa.Array], dict[str, Mask]]:
    """Return the parts of a stream's order columns, and by column the mask of the values without a meaning."""
    parts: list[pa.Array] = []
    meaningless: dict[str, Mask] = {}
    for name, kind in contract.order_kinds.items():
        own, meaningless[name] = order_parts(columns[name], kind)
        parts += own
    return parts, meaningless


def order_parts(column: pa.Array, kind: str) -> tuple[list[pa.Array], Mask]:
    """Return int64 columns that sort as a text column means, and a mask of the values that do not fit; NULL stays.

    Args:
        column: text.
        kind: `instant`, `integer`, `lsn` or `binlog`; any other kind keeps the text.
    """
    if kind not in PARSERS:
        return [column], np.zeros(len(column), np.bool_)
    if kind == "instant" and (fast := _instants(column)):
        return fast, np.zeros(len(column), np.bool_)
    parse, width = PARSERS[kind]
    coded = pc.dictionary_encode(column)
    parsed = [parse(text) if text is not None else None for text in coded.dictionary.to_pylist()]
    parts = [pa.array([p[i] if p else None for p in parsed], pa.int64()).take(coded.indices) for i in range(width)]
    invalid = pc.and_(parts[0].is_null(), column.is_valid())
    return parts, invalid.to_numpy(zero_copy_only=False)


def _instants(column: pa.Array) -> list[pa.Array]:
    """Return microseconds and the nanoseconds beyond them; nothing if Arrow can't parse one of the texts."""
    try:
        nanoseconds = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
    except pa.ArrowInvalid:
        return []
    values = pc.fill_null(nanoseconds, 0).to_numpy()
    parts = (values // 1000, values % 1000)
    return [pc.if_else(column.is_valid(), pa.array(part), pa.scalar(None, pa.int64())) for part in parts]


def parse_instant(text: str) -> Parts:
    """Return microseconds since 1970 and the nanoseconds beyond them; a text without a zone is in UTC."""
    fraction = FRACTION.search(text)
    digits = fraction[1].ljust(9, "0") if fraction else "0" * 9
    seconds = read_instant(FRACTION.sub("", text, count=1).strip())
    return None if seconds is None else (seconds + int(digits[:6]), int(digits[6:]))


def parse_integer(text: str) -> Parts:
    """Return a whole number of at most 64 bits."""
    number = int(text) if INTEGER.match(text) else None
    return (number,) if number is not None and number in INT64 else None


def parse_log_file(text: str) -> Parts:
    """Return the number at the end of a log's name, as in `mysql-bin.000042`."""
    match = LOG_FILE.match(text)
    return (int(match[1]),) if match else None


def parse_log_position(text: str) -> Parts:
    """Return the parts of a log position, as in `0000002c:00000c00:0003` (SQL Server) or `16/B374D848` (PostgreSQL)."""
    match = LOG_POSITION.match(text)
    return tuple(int(part, 16) for part in (match[1], match[2] or match[4], match[3] or "0")) if match else None


MEANINGS = {
    "instant": "an instant",
    "integer": "an integer of 64 bits",
    "lsn": "a log position",
    "binlog": "a log file with a number",
}
PARSERS: dict[str, tuple[Callable[[str], Parts], int]] = {
    "instant": (parse_instant, 2),
    "integer": (parse_integer, 1),
    "binlog": (parse_log_file, 1),
    "lsn": (parse_log_position, 3),
}
