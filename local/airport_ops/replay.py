"""Days in, the operations database as it stood at midnight after each day out."""

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

from local.airport_ops.dataset import FIRST_DAY, Change, changes, local_time, reference_changes, text
from local.airport_ops.tables import SYSTEM_SQL, TABLES, USERNAME, hash_password

LAST_DAY = 368  # flights of 31 December may still change in the three days after it
BUSY_S = 30


class NoDatabase(Exception):
    """There is no operations database where one was expected."""


def clock(day: int) -> datetime:
    """The midnight in New York after a day, day 1 being 1 January 2013."""
    return local_time(FIRST_DAY + timedelta(days=day), 0)


def create(database: Path, password: str) -> None:
    """Make an empty operations database whose user is `millrace`; nothing happens when it is there."""
    database = Path(database)
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    temporary = database.with_name(f".{database.name}.{secrets.token_hex(4)}")
    with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        connection.executescript(SYSTEM_SQL + "".join(table.create_sql() for table in TABLES.values()))
        salt = secrets.token_bytes(16)
        connection.execute("INSERT INTO _users VALUES (?, ?, ?)", (USERNAME, salt, hash_password(password, salt)))
    os.replace(temporary, database)


def day(database: Path) -> int:
    """Days that have been replayed."""
    with _opened(database) as connection:
        return _day(connection)


def advance(database: Path, to: int) -> int:
    """Replay up to and including a day, one transaction per day; returns the changes made.

    Running twice equals running once, by the day that the database keeps.

    Raises:
        NoDatabase: there is none at that path.
        ValueError: the data set has no such day.
    """
    if not 0 <= to <= LAST_DAY:
        raise ValueError(f"day {to} is outside of the replay; choose one of 1 to {LAST_DAY}")
    made = 0
    with _opened(database) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # a sync reads on while a day is replayed
        done = _day(connection)
        if done >= to:
            return 0
        pending = _pending(done, to)
        for number in range(done + 1, to + 1):
            made += _replay(connection, number, pending[number])
    return made


def _pending(done: int, to: int) -> dict[int, list[Change]]:
    """Changes by day, each day's in the order of time; changes at the same instant stay as they come."""
    days: dict[int, list[Change]] = {number: [] for number in range(done + 1, to + 1)}
    for change in _changes(done, to):
        number = 1 if change.at < clock(1) else (_date(change.at) - FIRST_DAY).days + 1
        if number in days:
            days[number].append(change)
    for found in days.values():
        found.sort(key=lambda change: change.at)
    return days


def _changes(done: int, to: int) -> Iterator[Change]:
    if done == 0:
        yield from reference_changes()
    yield from changes(FIRST_DAY + timedelta(days=done), FIRST_DAY + timedelta(days=to - 1))


def _date(moment: datetime) -> date:
    return moment.astimezone(local_time(FIRST_DAY, 0).tzinfo).date()


def _replay(connection: sqlite3.Connection, number: int, found: Iterable[Change]) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _day(connection) != number - 1:  # another replay was quicker
            connection.execute("ROLLBACK")
            return 0
        made = sum(_apply(connection, change) for change in found)
        connection.execute("UPDATE _replay SET day = ?", (number,))
        connection.execute("DELETE FROM _clock")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return made


def _apply(connection: sqlite3.Connection, change: Change) -> int:
    at = text(change.at)
    key = TABLES[change.table].key
    where = " AND ".join(f'"{column}" = :{column}' for column in key)
    row = change.row | {"updated_at": at}
    if change.op == "insert":
        names = ", ".join(f'"{column}"' for column in row)
        values = ", ".join(f":{column}" for column in row)
        statement = f"INSERT INTO {change.table} ({names}) VALUES ({values})"  # noqa: S608  names are our own
    elif change.op == "update":
        values = ", ".join(f'"{column}" = :{column}' for column in row if column not in key)
        statement = f"UPDATE {change.table} SET {values} WHERE {where}"  # noqa: S608
    else:
        connection.execute("DELETE FROM _clock")
        connection.execute("INSERT INTO _clock VALUES (?)", (at,))  # the trigger's only way to know the time
        statement = f"DELETE FROM {change.table} WHERE {where}"  # noqa: S608
    return connection.execute(statement, row).rowcount


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    if not Path(database).exists():
        raise NoDatabase(f"{database} does not exist; make it with `python -m local.airport_ops create`")
    with closing(sqlite3.connect(database, isolation_level=None, timeout=BUSY_S)) as connection:
        yield connection


def _day(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT day FROM _replay").fetchone()[0])
