"""The replay: whole days, once each, and the data set's traps, in a real SQLite file."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from local.demo.airport_ops.dataset import Row, read_flights
from local.demo.airport_ops.replay import NEW_YORK, Change, advance, clock, create, day, flight_changes, iso
from local.demo.airport_ops.schema import TABLES
from tests.support.scripted_airbyte import query
from tests.support.servers import ROOT

pytestmark = pytest.mark.slow

FIRST_WEEK = "table_name = 'flights' AND json_extract(row, '$.flight_date') <= '2013-01-07'"


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database after eight days: by then the fate of every flight of the first seven is known."""
    file = tmp_path_factory.mktemp("operations") / "ops.sqlite"
    create(file, "secret")
    advance(file, 8)
    return file


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    file = tmp_path / "ops.sqlite"
    create(file, "secret")
    return file


@pytest.fixture(scope="module")
def flights() -> list[Row]:
    return list(read_flights(date(2013, 1, 1), date(2013, 12, 31)))


def log(file: Path) -> list[tuple[Any, ...]]:
    return query(file, "SELECT * FROM _changes ORDER BY lsn")


def until(file: Path, last: int) -> list[tuple[Any, ...]]:
    """The log up to the end of a day."""
    return query(file, "SELECT * FROM _changes WHERE changed_at < ? ORDER BY lsn", iso(clock(last)))


def test_clock_is_new_yorks_midnight() -> None:
    assert clock(1) == datetime(2013, 1, 2, 5, tzinfo=UTC)
    assert clock(69) - clock(68) == timedelta(hours=23)  # 10 March has no 2 o'clock


def test_day_is_applied_once(empty: Path) -> None:
    assert advance(empty, 1) == len(log(empty)) > 8_000
    assert day(empty) == 1
    before = log(empty)
    assert advance(empty, 1) == advance(empty, 0) == 0
    assert log(empty) == before


def test_daily_and_whole_replay_give_the_same_log(week: Path, empty: Path) -> None:
    for to in (1, 3):
        advance(empty, to)
    assert log(empty) == until(week, 3)


@pytest.mark.parametrize("to", [-1, 366])
def test_day_outside_the_data_set_is_rejected(empty: Path, to: int) -> None:
    with pytest.raises(ValueError, match=r"has days 1 to 365"):
        advance(empty, to)


def test_missing_database_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make it by"):
        advance(tmp_path / "none.sqlite", 1)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from local.demo.airport_ops import replay
original, left = replay._open, int(sys.argv[2])
def count(sql):
    global left
    left -= sql.startswith("UPDATE _clock SET now")
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
def opened(database):
    db = original(database)
    db.set_trace_callback(count)
    return db
replay._open = opened
replay.advance(Path(sys.argv[1]), 2)
"""


@pytest.mark.parametrize(("changes", "whole_days"), [(4_000, 0), (9_000, 1)])
def test_killed_replay_leaves_whole_days_only(empty: Path, week: Path, changes: int, whole_days: int) -> None:
    command = [sys.executable, "-c", KILLED, str(empty), str(changes)]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert day(empty) == whole_days
    applied = log(empty)
    assert len(applied) == (len(until(week, 1)) if whole_days else 0)
    advance(empty, 2)
    assert log(empty) == until(week, 2)


def test_two_replays_at_once_apply_each_day_once(empty: Path, week: Path) -> None:
    code = (
        f"from pathlib import Path; from local.demo.airport_ops.replay import advance; advance(Path({str(empty)!r}), 2)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert log(empty) == until(week, 2)


def test_log_positions_increase_with_time(week: Path) -> None:
    changes = query(week, "SELECT lsn, changed_at FROM _changes ORDER BY rowid")
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(changes))


@pytest.mark.parametrize("table", TABLES)
def test_replayed_log_gives_the_table(week: Path, table: str) -> None:
    key, _ = TABLES[table]
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for op, image in query(week, "SELECT op, row FROM _changes WHERE table_name = ? ORDER BY lsn", table):
        row = json.loads(image)
        position = tuple(row[column] for column in key)
        if op == "DELETE":
            assert row.keys() == set(key), "a delete has only the key"
            del rows[position]
        else:
            assert (position in rows) == (op == "UPDATE")
            rows[position] = row
    expected = query(week, f"SELECT * FROM {table}")
    assert sorted(map(str, (tuple(row.values()) for row in rows.values()))) == sorted(map(str, expected))


def test_every_write_is_logged(empty: Path) -> None:
    with closing(sqlite3.connect(empty)) as db:
        for table, (key, columns) in TABLES.items():
            db.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})",
                [0.1 + 0.2 if kind == "REAL" else 1 for kind in columns.values()],
            )
            db.execute(f"UPDATE {table} SET updated_at = 'now', {[*columns][-1]} = NULL")
            db.execute(f"DELETE FROM {table} WHERE {key[0]} = 1")
        db.commit()
    changes = [(table, op, json.loads(row)) for _, table, op, row, _ in log(empty)]
    assert [(table, op) for table, op, _ in changes] == [
        (table, op) for table in TABLES for op in ("INSERT", "UPDATE", "DELETE")
    ]
    inserted, updated, deleted = (row for table, _, row in changes if table == "weather")
    assert (inserted["temp"], inserted["visib"], inserted["updated_at"]) == (0.1 + 0.2, 0.1 + 0.2, None)
    assert (updated["temp"], updated["visib"], updated["updated_at"]) == (0.1 + 0.2, None, "now")
    assert deleted == {"origin": "1", "time_hour": 1}


def test_first_seven_days_match_the_data_set(week: Path) -> None:
    figures = {
        "flights": f"SELECT count(*) FROM _changes WHERE {FIRST_WEEK} AND op = 'INSERT'",
        "cancelled": f"SELECT count(*) FROM _changes WHERE {FIRST_WEEK} AND op = 'DELETE'",
        "diverted": "SELECT count(*) FROM flights WHERE flight_date <= '2013-01-07' AND status = 'diverted'",
        "landed": "SELECT count(*) FROM flights WHERE flight_date <= '2013-01-07' AND status = 'landed'",
        "without a known plane": f"SELECT count(*) FROM _changes WHERE {FIRST_WEEK} AND op = 'INSERT'"
        " AND json_extract(row, '$.tailnum') NOT IN (SELECT tailnum FROM planes)",
        "to unknown airports": f"SELECT count(*) FROM _changes WHERE {FIRST_WEEK} AND op = 'INSERT'"
        " AND json_extract(row, '$.dest') NOT IN (SELECT faa FROM airports)",
        "without weather": f"SELECT count(*) FROM _changes WHERE {FIRST_WEEK} AND op = 'INSERT' AND NOT EXISTS"
        " (SELECT 1 FROM weather w WHERE w.origin = json_extract(row, '$.origin')"
        " AND substr(w.time_hour, 1, 13) = substr(json_extract(row, '$.scheduled_departure'), 1, 13))",
    }
    assert {name: query(week, sql)[0][0] for name, sql in figures.items()} == {
        "flights": 6_099,
        "cancelled": 35,
        "diverted": 21,
        "landed": 6_043,
        "without a known plane": 979,
        "to unknown airports": 181,
        "without weather": 52,
    }


def life(row: Row) -> list[Change]:
    return list(flight_changes(row))


def steps(row: Row) -> list[str]:
    return [change.sql.split()[0] for change in life(row)]


def minute_in_new_york(text: str) -> int:
    local = datetime.fromisoformat(text).astimezone(NEW_YORK)
    return local.hour * 60 + local.minute


def test_flights_have_the_expected_lifetime(flights: list[Row]) -> None:
    assert len(flights) == 336_776
    fates = Counter(
        "cancelled" if row["dep_time"] is None else "diverted" if row["arr_delay"] is None else "landed"
        for row in flights
    )
    assert (fates["cancelled"], fates["diverted"]) == (8_255, 1_175)
    kinds = {"cancelled": ["INSERT", "DELETE"], "diverted": ["INSERT", "UPDATE", "UPDATE"]}
    cancelled = next(row for row in flights if row["dep_time"] is None)
    diverted = next(row for row in flights if row["dep_time"] is not None and row["arr_delay"] is None)
    assert (steps(cancelled), steps(diverted)) == (kinds["cancelled"], kinds["diverted"])


def test_cancelled_flight_is_deleted_next_day(flights: list[Row]) -> None:
    cancelled = next(row for row in flights if row["dep_time"] is None)
    assert (cancelled["month"], cancelled["day"]) == ("1", "1")
    assert life(cancelled)[-1].at == datetime(2013, 1, 2, 6, tzinfo=NEW_YORK)


def test_diverted_flight_has_no_landing(week: Path) -> None:
    diverted = query(week, "SELECT departed_at, landed_at, arr_delay, air_time FROM flights WHERE status = 'diverted'")
    assert diverted
    assert all(departed and not (landed or delay or air) for departed, landed, delay, air in diverted)


def test_departure_at_2400_is_on_the_next_day(flights: list[Row]) -> None:
    departed = [row for row in flights if row["dep_time"] is not None]
    special = [row for row in departed if row["dep_time"] == "2400"]
    rolled = 0
    for row in [*special, *(row for row in departed if int(row["dep_delay"] or 0) > 300)]:
        at = str(life(row)[1].values["departed_at"])
        clock_time = int(row["dep_time"] or 0)
        assert minute_in_new_york(at) == (clock_time // 100 * 60 + clock_time % 100) % 1440
        local = datetime.fromisoformat(at).astimezone(NEW_YORK).date()
        rolled += local > date(int(row["year"] or 0), int(row["month"] or 0), int(row["day"] or 0))
    assert len(special) == 29
    assert rolled > 100
