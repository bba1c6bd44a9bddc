"""Values of any database type in; numbers, texts and dates as charts and people read them, out."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

Row = dict[str, Any]
FORMAT = re.compile(r"^(?P<before>[^\d\s.,%a-zA-Z]*)(?P<spec>,?(?:\.\d{1,2})?[fd%])(?P<after>.*)$")
NAMED = {"integer": ",.0f", "decimal": ",.2f", "percent": ".0%", "plain": ".0f"}
NOTHING = "–"


def _known(value: str) -> str:
    if value not in NAMED and not FORMAT.match(value):
        raise ValueError(
            f"{value!r} is no format; write {', '.join(NAMED)}, or for example `,.1f min`, `.1%` or `€,.2f`"
        )
    return value


Format = Annotated[str, AfterValidator(_known)]


def parts_of_format(name: str) -> tuple[str, str, str]:
    """Return what stands before a number, its format (of Python and d3 alike), and what stands after it."""
    before, spec, after = FORMAT.findall(NAMED.get(name, name))[0]
    return before, spec.replace("d", ".0f"), after


def plain(value: Any, zone: ZoneInfo) -> Any:
    """Return a value as JSON has it: decimals as numbers, instants as local time without a zone."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, datetime):
        return local(value, zone).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item, zone) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item, zone) for name, item in value.items()}
    return value.hex() if isinstance(value, bytes) else str(value)


def local(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return an instant, UTC when it has no zone, as the time of a zone."""
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(zone).replace(tzinfo=None)


def exact(value: Any, zone: ZoneInfo) -> Any:
    """Return a value for a file of data: as `plain`, but a decimal that no float holds stays a text."""
    if isinstance(value, Decimal) and value.is_finite() and Decimal(repr(float(value))) != value:
        return str(value)
    return plain(value, zone)


def shown(value: Any, name: str, zone: ZoneInfo) -> str:
    """Return a value as people read it, in a format if one is named."""
    if is_number(value):
        if name:
            before, spec, after = parts_of_format(name)
            minus = "-" if value < 0 else ""
            return f"{minus}{before}{format(abs(value), spec)}{after}"
        if isinstance(value, int) or value == value.__floor__():
            return f"{value:,.0f}"
        return f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.3g}"
    if isinstance(value, datetime):
        moment = local(value, zone)
        return f"{moment:%Y-%m-%d}" if moment.time() == time() and not name else f"{moment:%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        return str(value)
    simple = plain(value, zone)
    return NOTHING if simple is None else str(simple)


def is_number(value: Any) -> bool:
    """Return True for a finite number; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    return isinstance(value, int) or (value == value and abs(value) != float("inf"))
