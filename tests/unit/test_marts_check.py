"""The check of the marts finds any one figure that is wrong."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from local.demo.airport_ops.check import KEYS, Comparison, Difference, compare_with
from local.demo.airport_ops.expected import Row, expected_marts
from tests.support.servers import ROOT

pytestmark = pytest.mark.slow

Falsified = Callable[[str], tuple[Difference, ...]]
ROWS = 40


@pytest.fixture(scope="module")
def whole() -> dict[str, list[Row]]:
    """All marts after day 1."""
    return expected_marts(1)


@pytest.fixture(scope="module")
def expected(whole: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Some rows of each, and with them the unknown members."""
    return {name: rows[:ROWS] + rows[ROWS:][-1:] for name, rows in whole.items()}


@pytest.fixture(scope="module")
def right(expected: dict[str, list[Row]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Marts in which every figure is right."""
    return publish(expected, tmp_path_factory.mktemp("marts") / "published.duckdb")


def publish(marts: dict[str, list[Row]], file: Path) -> Path:
    with duckdb.connect(str(file)) as db:
        db.execute("CREATE SCHEMA marts")
        for name, rows in marts.items():
            db.register("rows", pa.Table.from_pylist(rows))
            db.execute(f"CREATE TABLE marts.{name} AS FROM rows")
            db.unregister("rows")
    return file


@pytest.fixture
def marts(right: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(right, tmp_path / "published.duckdb"))


@pytest.fixture
def falsified(marts: Path, expected: dict[str, list[Row]]) -> Falsified:
    """Changes the marts by SQL, and gives the differences that are found then."""

    def run(sql: str) -> tuple[Difference, ...]:
        with duckdb.connect(str(marts)) as db:
            db.execute("SET TimeZone = 'UTC'")
            db.execute(sql)
        return compare_with(marts, expected).differences

    return run


def one_row(name: str, expected: dict[str, list[Row]], column: str) -> tuple[tuple[Any, ...], str, Row]:
    """A row in which a column has a value: its key, the same as SQL, and the row."""
    row = next(row for row in expected[name] if row[column] is not None)
    key = tuple(row[part] for part in KEYS[name])
    return key, " AND ".join(f"{part} = '{row[part]}'" for part in KEYS[name]), row


def test_right_marts_agree_in_every_figure(marts: Path, expected: dict[str, list[Row]]) -> None:
    figures = sum(len(row) for rows in expected.values() for row in rows)
    outcome = compare_with(marts, expected)
    assert outcome == Comparison(8, figures, ())
    assert str(outcome) == f"{figures:,} figures in 8 marts agree with the original data"


COLUMNS = [
    (name, column)
    for name, columns in {
        "dim_airline": ["name", "is_known"],
        "dim_airport": ["name", "lat", "alt", "tzone"],
        "dim_plane": ["year", "seats", "manufacturer"],
        "fct_flights": ["status", "departed_at", "landed_at", "dep_delay", "arr_delay", "plane_key", "flight"],
        "airline_punctuality_daily": ["scheduled", "cancelled", "late_arrivals", "avg_arr_delay", "late_arrival_share"],
        "route_delays": ["flights", "worst_arr_delay", "avg_air_time"],
        "weather_delays": ["late_departures", "avg_dep_delay"],
    }.items()
    for column in columns
]
OTHER = {
    bool: "NOT {0}",
    int: "{0} + 1",
    float: "{0} * 1.000001",
    str: "{0} || ' '",
}


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_false_value_is_the_only_difference(
    falsified: Falsified, expected: dict[str, list[Row]], name: str, column: str
) -> None:
    key, where, row = one_row(name, expected, column)
    other = OTHER.get(type(row[column]), "{0} + INTERVAL 1 SECOND").format(column)
    (difference,) = falsified(f"UPDATE marts.{name} SET {column} = {other} WHERE {where}")
    assert (difference.mart, difference.key, difference.column) == (name, key, column)
    assert difference.expected == row[column] != difference.actual


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_lost_value_is_the_only_difference(
    falsified: Falsified, expected: dict[str, list[Row]], name: str, column: str
) -> None:
    key, where, row = one_row(name, expected, column)
    differences = falsified(f"UPDATE marts.{name} SET {column} = NULL WHERE {where}")
    assert differences == (Difference(name, key, column, row[column], None),)


@pytest.mark.parametrize("name", KEYS)
def test_lost_row_is_the_only_difference(falsified: Falsified, expected: dict[str, list[Row]], name: str) -> None:
    key, where, _ = one_row(name, expected, KEYS[name][0])
    differences = falsified(f"DELETE FROM marts.{name} WHERE {where}")
    assert differences == (Difference(name, key, "row", "there", "missing"),)


@pytest.mark.parametrize("name", KEYS)
def test_extra_row_is_the_only_difference(falsified: Falsified, expected: dict[str, list[Row]], name: str) -> None:
    key, where, _ = one_row(name, expected, KEYS[name][-1])
    changed = "date '2099-01-01'" if KEYS[name][0] in ("flight_date", "month") else "'XX'"
    sql = f"INSERT INTO marts.{name} SELECT * REPLACE ({changed} AS {KEYS[name][0]}) FROM marts.{name} WHERE {where}"
    (difference,) = falsified(sql)
    assert (difference.mart, difference.column, difference.actual) == (name, "row", "there")
    assert difference.key[1:] == key[1:]


@pytest.mark.parametrize("name", KEYS)
def test_repeated_row_is_the_only_difference(falsified: Falsified, expected: dict[str, list[Row]], name: str) -> None:
    _, where, _ = one_row(name, expected, KEYS[name][0])
    differences = falsified(f"INSERT INTO marts.{name} FROM marts.{name} WHERE {where}")
    rows = len(expected[name])
    assert differences == (Difference(name, (), "rows", rows, rows + 1),)


@pytest.mark.parametrize("name", KEYS)
def test_lost_mart_is_the_only_difference(falsified: Falsified, name: str) -> None:
    assert falsified(f"DROP TABLE marts.{name}") == (Difference(name, (), "mart", "there", "none"),)


def test_extra_mart_is_the_only_difference(falsified: Falsified) -> None:
    differences = falsified("CREATE TABLE marts.more AS SELECT 1")
    assert differences == (Difference("more", (), "mart", "none", "there"),)


def test_changed_type_differs_in_one_column(falsified: Falsified, expected: dict[str, list[Row]]) -> None:
    differences = falsified("ALTER TABLE marts.route_delays ALTER flights TYPE DOUBLE")
    assert {(d.mart, d.column) for d in differences} == {("route_delays", "flights")}
    assert len(differences) == len(expected["route_delays"])


def test_lost_and_new_columns_differ_by_name(falsified: Falsified, expected: dict[str, list[Row]]) -> None:
    differences = falsified("ALTER TABLE marts.weather_delays RENAME flights TO flown")
    assert {(d.column, d.expected if d.column == "flown" else d.actual) for d in differences} == {
        ("flights", "no column"),
        ("flown", "no column"),
    }
    assert len(differences) == 2 * len(expected["weather_delays"])


def test_rounding_is_no_difference(falsified: Falsified) -> None:
    assert falsified("UPDATE marts.route_delays SET avg_dep_delay = avg_dep_delay * (1 + 1e-13)") == ()


def test_command_compares_all_requested_days(whole: dict[str, list[Row]], tmp_path: Path) -> None:
    marts = publish(whole, tmp_path / "published.duckdb")
    _, where, row = one_row("dim_airline", whole, "name")
    with duckdb.connect(str(marts)) as db:
        db.execute(f"UPDATE marts.dim_airline SET name = 'Nobody' WHERE {where}")
    command = [sys.executable, "-m", "local.demo.airport_ops.check", "--marts", str(marts), "--days", "1"]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    figures = sum(len(row) for rows in whole.values() for row in rows)
    first, difference = completed.stdout.splitlines()
    assert completed.returncode == 1
    assert first == f"1 of {figures:,} figures differ from the original data:"
    assert difference == f"  dim_airline[{row['airline_key']}].name: expected {row['name']!r}, found 'Nobody'"
