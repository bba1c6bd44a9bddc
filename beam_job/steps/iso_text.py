"""Times as integers in, ISO 8601 texts of any year out, which Python's own dates can not hold; and instants back."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
DAY = 86_400  # seconds
CYCLE = 146_097  # days of 400 years
TO_YEAR_0 = 719_468  # days from 0000-03-01 to 1970-01-01


def integers(column: pa.Array) -> list[int]:
    """Return the integers behind dates, times, timestamps and durations, 0 for NULL."""
    wide = pa.int32() if column.type.bit_width == 32 else pa.int64()
    return list(pc.fill_null(column.view(wide), 0).to_pylist())


def read_instant(text: str) -> int | None:
    """Return an ISO text as microseconds since 1970, without the digits beyond; a text without a zone is in UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)


def date_text(days: int) -> str:
    """Return the date so many days after 1970-01-01; a year beyond 0000 to 9999 has a sign: `+10000`, `-0044`."""
    cycle, day = divmod(days + TO_YEAR_0, CYCLE)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # from March
    day -= (153 * month + 2) // 5 - 1
    year += 400 * cycle + (month > 9)
    month += 3 if month < 10 else -9
    sign = "-" if year < 0 else "+" if year > 9_999 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}"


def time_text(value: int, unit: str) -> str:
    """Return a time of day as `12:00:00.5`; "" if it is none: 24:00:00 is the last."""
    seconds, parts = divmod(value, PER_SECOND[unit])
    return _clock(seconds) + _fraction(parts, unit) if 0 <= value <= DAY * PER_SECOND[unit] else ""


def instant_text(value: int, unit: str) -> str:
    """Return an instant in UTC as `2026-01-31T12:00:00.5Z`."""
    seconds, parts = divmod(value, PER_SECOND[unit])
    days, seconds = divmod(seconds, DAY)
    return f"{date_text(days)}T{_clock(seconds)}{_fraction(parts, unit)}Z"


def duration_text(value: int, unit: str) -> str:
    """Return a duration as `PT1.5S`, with a sign before the seconds if it is negative."""
    seconds, parts = divmod(abs(value), PER_SECOND[unit])
    return f"PT{'-' if value < 0 else ''}{seconds}{_fraction(parts, unit)}S"


def interval_text(months: int, days: int, nanoseconds: int) -> str:
    """Return an interval as `P1M2DT3.5S`; each part has its own sign."""
    dates = (f"{months}M" if months else "") + (f"{days}D" if days else "")
    time = duration_text(nanoseconds, "ns")[1:] if nanoseconds else ""
    return f"P{dates}{time}" if dates or time else "PT0S"


def _clock(seconds: int) -> str:
    return f"{seconds // 3_600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _fraction(parts: int, unit: str) -> str:
    """Return parts of a second as `.5`, without zeros at the end, "" for none."""
    digits = len(str(PER_SECOND[unit])) - 1
    return f".{parts:0{digits}d}".rstrip("0") if parts else ""
