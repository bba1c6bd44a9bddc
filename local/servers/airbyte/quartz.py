"""A Quartz cron expression with its time zone in; the next instant that it names out, as Airbyte's scheduler has it.

Seconds, minutes, hours, day of the month, month, day of the week (1 is Sunday), and perhaps the year:
https://www.quartz-scheduler.org/documentation/quartz-2.3.0/tutorials/crontrigger.html
"""

import calendar
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
FIELDS = (
    ("seconds", 0, 59, ()),
    ("minutes", 0, 59, ()),
    ("hours", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of the week", 1, 7, DAYS),
    ("year", 1970, 2199, ()),
)
ANY = ("*", "?")
LONGEST = timedelta(days=366 * 8)  # 29 February may be eight years away


@dataclass(frozen=True)
class Cron:
    """A parsed expression: the values of each field, a test of a day, and the time zone."""

    times: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    is_day: Callable[[date], bool]
    zone: ZoneInfo

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first instant after this one, None when there is none within eight years."""
        local = instant.astimezone(self.zone)
        day = local.date()
        while day - local.date() < LONGEST:
            if self.is_day(day):
                for at in self._of(day):
                    if at > instant:
                        return at
            day += timedelta(days=1)
        return None

    def _of(self, day: date) -> Iterator[datetime]:
        """Yield the instants of a day, without those that a change of the clocks leaves out."""
        seconds, minutes, hours = self.times
        for hour in hours:
            for minute in minutes:
                for second in seconds:
                    wall = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=self.zone)
                    at = wall.astimezone(UTC)
                    if at.astimezone(self.zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
                        yield at


def parse(expression: str) -> Cron:
    """Parse an expression such as `0 0 6 ? * MON-FRI Europe/Berlin`. Raises ValueError, which names the wrong part."""
    *fields, zone = expression.split()
    if len(fields) not in (6, 7):
        raise ValueError(f"{expression!r} has {len(fields)} fields before its time zone; expected 6 or 7")
    try:
        zone_info = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{zone!r} is not a time zone; write one as Europe/Berlin, or UTC") from None
    seconds, minutes, hours, month_days, months, week_days, *years = fields
    if (month_days == "?") == (week_days == "?") and month_days == "?":
        raise ValueError("only one of the day of the month and the day of the week can be `?`")
    is_month_day, is_week_day = _month_days(month_days), _week_days(week_days)
    in_months = set(_values(4, months))
    in_years = set(_values(6, years[0])) if years else None

    def is_day(day: date) -> bool:
        if day.month not in in_months or (in_years is not None and day.year not in in_years):
            return False
        return is_month_day(day) and is_week_day(day)

    times = (tuple(_values(0, seconds)), tuple(_values(1, minutes)), tuple(_values(2, hours)))
    return Cron(times, is_day, zone_info)


def _month_days(text: str) -> Callable[[date], bool]:
    if text == "L":
        return lambda day: day.day == calendar.monthrange(day.year, day.month)[1]
    values = set(_values(3, text))
    return lambda day: day.day in values


def _week_days(text: str) -> Callable[[date], bool]:
    if "#" in text:
        name, _, number = text.partition("#")
        (weekday,), nth = _values(5, name), _number(5, number)
        return lambda day: _weekday(day) == weekday and (day.day - 1) // 7 + 1 == nth
    if text.endswith("L") and text != "L":
        (weekday,) = _values(5, text[:-1])
        return lambda day: _weekday(day) == weekday and (day + timedelta(days=7)).month != day.month
    values = set(_values(5, "7" if text == "L" else text))
    return lambda day: _weekday(day) in values


def _weekday(day: date) -> int:
    return (day.weekday() + 1) % 7 + 1


def _values(index: int, text: str) -> list[int]:
    """Return the values of a field: `*`, `5`, `1-5`, `MON,WED`, `0/15`, `*/10`."""
    name, low, high, _ = FIELDS[index]
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in ANY:
            first, last = low, high
        elif "-" in span:
            first, last = (_number(index, end) for end in span.split("-", 1))
        else:
            first = _number(index, span)
            last = high if step else first
        by = int(step) if step.isdigit() and int(step) else 0 if step else 1
        if not by or not low <= first <= high or not low <= last <= high:
            raise ValueError(f"{part!r} is not a value of the {name}, which goes from {low} to {high}")
        span_values = range(first, last + 1, by) if first <= last else [*range(first, high + 1), *range(low, last + 1)]
        values.update(span_values)
    return sorted(values)


def _number(index: int, text: str) -> int:
    name, low, high, words = FIELDS[index]
    if text.upper() in words:
        return words.index(text.upper()) + low
    if not text.isdigit():
        raise ValueError(f"{text!r} is not a value of the {name}, which goes from {low} to {high}")
    return int(text)
