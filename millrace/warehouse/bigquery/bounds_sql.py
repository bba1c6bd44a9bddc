"""SQL of the bounds of a merge in BigQuery: a contract and partitions in, a condition of literals out; pure text."""

from datetime import date, datetime, timedelta

from millrace.contracts.stream import StreamContract
from millrace.warehouse.bigquery.sql import BUCKET, buckets, quote

MOST_RANGES = 500


def within(contract: StreamContract, partitions: list[int] | list[date] | list[datetime]) -> str:
    """Return a condition of literals on the target's rows, so that BigQuery reads and bills only these partitions."""
    if buckets(contract):
        return f"t.{BUCKET} IN ({', '.join(str(value) for value in partitions)})"
    name = str(contract.partition and contract.partition.column)
    by = str(contract.partition and contract.partition.by)
    kind, column = contract.columns[name].type.upper(), f"t.{quote(name)}"
    starts = [value for value in partitions if isinstance(value, date)]
    if kind == "DATE" and by == "day":
        return f"{column} IN ({', '.join(_literal(kind, value) for value in starts)})"
    ranges = _ranges(starts, by)
    shown = [_range(kind, column, first, end) for first, end in ranges]
    return shown[0] if len(shown) == 1 else f"({' OR '.join(shown)})"


def _range(kind: str, column: str, first: date, end: date | None) -> str:
    lower = f"{column} >= {_literal(kind, first)}"
    return f"({lower} AND {column} < {_literal(kind, end)})" if end else f"({lower})"


def _ranges(starts: list[date], by: str) -> list[tuple[date, date | None]]:
    """Return ranges of partitions, merging neighbours; one range over all of them when there are too many.

    A range of the last partition of the year 9999 has no end.
    """
    ranges: list[tuple[date, date | None]] = []
    for start in starts:
        end = _next(start, by)
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges if len(ranges) <= MOST_RANGES else [(ranges[0][0], ranges[-1][1])]


def _next(start: date, by: str) -> date | None:
    """Return the start of the next partition; None after the year 9999."""
    try:
        if by == "day":
            return start + timedelta(days=1)
        if by == "month" and start.month < 12:
            return start.replace(month=start.month + 1)
        return start.replace(year=start.year + 1, month=1)
    except (OverflowError, ValueError):
        return None


def _literal(kind: str, value: date) -> str:
    """Return a literal of the start of a partition, which is a whole day."""
    day = value.isoformat()[:10]  # `strftime` writes the year 1 as 1
    return f"DATE '{day}'" if kind == "DATE" else f"TIMESTAMP '{day} 00:00:00+00'"
