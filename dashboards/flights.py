"""What a passenger would call a flight's state; pure."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
LATE_MIN, VERY_LATE_MIN = 15, 60
FEW = 30  # landings, below which a share says little


def told(row: Row) -> Row:
    """A flight of the board with its local time, its class and its number as it is on a ticket."""
    local = local_time(row["scheduled_departure"], row["timezone"])
    return row | {"local": local, "class": class_of(row), "number": f"{row['carrier']} {row['flight']}"}


def local_time(at: datetime, timezone: str | None) -> datetime:
    """An instant (UTC, with or without its zone) by a clock on the wall; UTC where the zone is not known."""
    instant = at if at.tzinfo else at.replace(tzinfo=UTC)
    return instant.astimezone(ZoneInfo(timezone) if timezone else UTC).replace(tzinfo=None)


def class_of(row: Row) -> str:
    """`on time` up to 15 minutes, `very late` from more than an hour on."""
    if row["status"] == "diverted":
        return "diverted"
    delay = row["dep_delay"]
    if delay is None:
        return "not departed"
    return "very late" if delay > VERY_LATE_MIN else "late" if delay > LATE_MIN else "on time"
