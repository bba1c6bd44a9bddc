"""Checks every figure of the published marts: `python -m local.demo.airport_ops.check --marts FILE --days N`."""

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from local.demo.airport_ops.expected import Row, expected_marts

KEYS = {
    "dim_airline": ("airline_key",),
    "dim_airport": ("airport_key",),
    "dim_plane": ("plane_key",),
    "fct_flights": ("flight_key",),
    "airline_punctuality_daily": ("flight_date", "carrier"),
    "airline_punctuality_monthly": ("month", "carrier"),
    "route_delays": ("origin", "dest"),
    "weather_delays": ("origin", "weather"),
}
TOLERANCE = 1e-9
SHOWN = 20


@dataclass(frozen=True)
class Difference:
    """One figure that differs from its expected value."""

    mart: str
    key: tuple[Any, ...]
    column: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        key = ", ".join(str(part) for part in self.key)
        return f"{self.mart}[{key}].{self.column}: expected {self.expected!r}, found {self.actual!r}"


@dataclass(frozen=True)
class Comparison:
    """The numbers of marts and figures that were compared, and the figures that differ."""

    marts: int
    figures: int
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        if not self.differences:
            return f"{self.figures:,} figures in {self.marts} marts agree with the original data"
        lines = [f"{len(self.differences):,} of {self.figures:,} figures differ from the original data:"]
        return "\n".join([*lines, *(f"  {d}" for d in self.differences[:SHOWN])])


def compare(marts: Path, days: int) -> Comparison:
    """Compare every column of every row of every mart with the original data after `days` days."""
    return compare_with(marts, expected_marts(days))


def compare_with(marts: Path, expected: dict[str, list[Row]]) -> Comparison:
    """Compare every column of every row of every mart with the rows that it should have."""
    differences: list[Difference] = []
    figures = 0
    with duckdb.connect(str(marts), read_only=True) as db:
        db.execute("SET TimeZone = 'UTC'")
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'marts'"
        published = {n for (n,) in db.execute(query).fetchall()}
        differences += [
            Difference(n, (), "mart", "there" if n in KEYS else "none", "none" if n in KEYS else "there")
            for n in sorted(published ^ set(KEYS))
        ]
        for name in sorted(published & set(KEYS)):
            count, wrong = _compare_mart(name, expected[name], _rows(db, name))
            figures += count
            differences += wrong
    return Comparison(len(KEYS), figures, tuple(differences))


def _compare_mart(name: str, expected_rows: list[Row], actual_rows: list[Row]) -> tuple[int, list[Difference]]:
    key = KEYS[name]
    left, right = ({tuple(row[k] for k in key): row for row in rows} for rows in (expected_rows, actual_rows))
    differences = [Difference(name, k, "row", "there", "missing") for k in sorted(left.keys() - right.keys(), key=str)]
    differences += [Difference(name, k, "row", "none", "there") for k in sorted(right.keys() - left.keys(), key=str)]
    if len(right) != len(actual_rows):
        differences.append(Difference(name, (), "rows", len(right), len(actual_rows)))
    figures = 0
    for k in sorted(left.keys() & right.keys(), key=str):
        for column in sorted(left[k].keys() | right[k].keys()):
            figures += 1
            expected, actual = left[k].get(column, "no column"), right[k].get(column, "no column")
            if not _same(expected, actual):
                differences.append(Difference(name, k, column, expected, actual))
    return figures, differences


def _same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, float) and isinstance(actual, float):
        return abs(expected - actual) <= TOLERANCE * max(1.0, abs(expected))
    return type(expected) is type(actual) and bool(expected == actual)


def _rows(db: duckdb.DuckDBPyConnection, mart: str) -> list[Row]:
    cursor = db.execute(f"SELECT * FROM marts.{mart}")
    names = [column[0] for column in cursor.description or ()]
    return [{n: _instant(v) for n, v in zip(names, row, strict=True)} for row in cursor.fetchall()]


def _instant(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def main() -> int:
    """Print the outcome; 1 when a figure differs."""
    parser = argparse.ArgumentParser(prog="python -m local.demo.airport_ops.check", description=__doc__)
    parser.add_argument("--marts", type=Path, required=True, help="file of the published marts")
    parser.add_argument("--days", type=int, required=True, help="days that were replayed")
    options = parser.parse_args()
    outcome = compare(options.marts, options.days)
    print(outcome)
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
