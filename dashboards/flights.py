"""Flights as a passenger reads them: a row of the mart in, local time, delay class and flight number out; pure."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
LATE_MIN, VERY_LATE_MIN = 15, 60
FEW = 30  # landings, below which a share is not significant


def board_row(row: Row) -> Row:
    """Return a flight of the board with its local time, its delay class and its number as on a ticket."""
    local = local_time(row["scheduled_departure"], row["timezone"])
    return row | {"local": local, "class": class_of(row), "number": f"{row['carrier']} {row['flight']}"}


def local_time(at: datetime, timezone: str | None) -> datetime:
    """Return an instant (UTC, with or without its zone) as local time; as UTC when the time zone is unknown."""
    instant = at if at.tzinfo else at.replace(tzinfo=UTC)
    return instant.astimezone(ZoneInfo(timezone) if timezone else UTC).replace(tzinfo=None)


def class_of(row: Row) -> str:
    """Return the class of a flight's delay: `on time` up to 15 minutes, `very late` above an hour."""
    if row["status"] == "diverted":
        return "diverted"
    delay = row["dep_delay"]
    if delay is None:
        return "not departed"
    return "very late" if delay > VERY_LATE_MIN else "late" if delay > LATE_MIN else "on time"
