"""How long dbt and Great Expectations take per model run: `python -m bench.model --flights 100000`.

Rows are put into the merged tables by plain SQL, and published by the steps of the flow `model` in one process. Each
step is timed, the first run (imports, everything built) apart from those that follow.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import duckdb

from bench.model_run import ModelRun, run_model
from contracts.ledger import LedgerEntry
from contracts.source import load_sources
from settings.tree import ROOT
from warehouse.duckdb import DuckDBWarehouse

SOURCE = load_sources(ROOT / "sources")["airport_ops"]
FIRST = date(2013, 1, 1)
REPORT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- model: begin -->", "<!-- model: end -->"
PACKAGES = ("duckdb", "dbt-core", "great-expectations")
STEPS = ("gate of merged rows", "dbt build", "gate of candidates", "publish")
FLIGHTS = """
INSERT INTO raw_airport_ops.flights BY NAME SELECT
  day AS flight_date, ['UA', 'AA', 'B6', 'DL'][1 + i % 4] AS carrier, i AS flight,
  ['JFK', 'EWR', 'LGA'][1 + i % 3] AS origin,
  ['ORD', 'LAX', 'BOS', 'MIA', 'SFO'][1 + i % 5] AS dest, 'N' || (i % 500) AS tailnum,
  700 AS distance, 'landed' AS status,
  i % 60 AS dep_delay, i % 50 AS arr_delay, 90 + i % 100 AS air_time,
  day + INTERVAL (i % 24) HOUR AS scheduled_departure,
  scheduled_departure AS departed_at, scheduled_departure + INTERVAL 2 HOUR AS landed_at,
  encode(lpad($2::VARCHAR, 12, '0')) AS _version, $2 AS _batch_id, now() AS _extracted_at
FROM (SELECT unnest($1::DATE[]) AS day), range($3) AS r(i)
"""
DIMENSIONS = """
INSERT INTO raw_airport_ops.airlines BY NAME SELECT unnest(['UA', 'AA', 'B6', 'DL']) AS carrier, carrier AS name,
  'a'::BLOB AS _version, 'dimensions' AS _batch_id, now() AS _extracted_at;
INSERT INTO raw_airport_ops.airports BY NAME SELECT
  unnest(['JFK', 'EWR', 'LGA', 'ORD', 'LAX', 'BOS', 'MIA', 'SFO']) AS faa, faa AS name, 40.0 AS lat, -74.0 AS lon,
  'a'::BLOB AS _version, 'dimensions' AS _batch_id, now() AS _extracted_at;
INSERT INTO raw_airport_ops.planes BY NAME SELECT 'N' || i AS tailnum, 2000 AS year, 'a'::BLOB AS _version,
  'dimensions' AS _batch_id, now() AS _extracted_at FROM range(500) AS r(i);
"""


class Platform:
    """A warehouse in a folder, and batches merged into it."""

    def __init__(self, folder: Path, per_day: int) -> None:
        self.folder, self._per_day = folder, per_day
        self.warehouse = DuckDBWarehouse(f"duckdb:///{folder}/warehouse.duckdb", f"duckdb:///{folder}/published.duckdb")
        for contract in SOURCE.streams.values():
            self.warehouse.ensure(contract)
        with duckdb.connect(str(folder / "warehouse.duckdb")) as db:
            db.execute(DIMENSIONS)
        for stream in ("airlines", "airports", "planes"):
            self._note(f"dimensions-{stream}", stream, 1)

    def merge(self, batch: str, days: list[date]) -> None:
        """A batch with all flights of some days."""
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as db:
            db.execute(FLIGHTS, [days, batch, self._per_day])
        self._note(batch, "flights", len(days) * self._per_day)

    def run(self, *, full: bool = False) -> ModelRun:
        """One model run."""
        run = run_model(self.warehouse, self.folder / "state", full=full)
        if run is None:
            raise SystemExit("nothing is pending")
        return run

    def _note(self, batch: str, stream: str, rows: int) -> None:
        self.warehouse.append(
            LedgerEntry(kind="merged", batch_id=batch, source=SOURCE.source, stream=stream, run_id="bench",
                        at=datetime.now(UTC), merged=rows)
        )  # fmt: skip


def measure(folder: Path, flights: int, days: int, runs: int) -> dict[str, list[ModelRun]]:
    """The first run; runs after a day of flights each; and as many that build everything."""
    place = Platform(folder, flights // days)
    place.merge("history", [FIRST + timedelta(days=n) for n in range(days)])
    measured: dict[str, list[ModelRun]] = {
        "first run, imports included": [place.run()],
        "a day of flights": [],
        "everything (full)": [],
    }
    for n in range(runs):
        place.merge(f"day-{n}", [FIRST + timedelta(days=days + n)])
        measured["a day of flights"].append(place.run())
        measured["everything (full)"].append(place.run(full=True))
    return measured


def report(measured: dict[str, list[ModelRun]], flights: int, days: int, now: datetime) -> str:
    """The figures as Markdown: medians, in seconds."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [
        BEGIN,
        f'`make bench-model ARGS="--flights {flights} --days {days}"` on {now:%Y-%m-%d}; {machine}; {packages};'
        " medians, seconds of wall time.",
        "",
        f"| a table of {flights:,} flights | " + " | ".join(STEPS) + " | in all | marts built |",
        "|---|" + "---|" * (len(STEPS) + 2),
    ]
    for what, runs in measured.items():
        figures = [statistics.median(run.seconds[step] for run in runs) for step in STEPS]
        shown = [f"{figure:.2f}" for figure in (*figures, statistics.median(run.total_s for run in runs))]
        lines.append(f"| {what} | {' | '.join(shown)} | {len(runs[-1].marts)} |")
    return "\n".join([*lines, END])


def main() -> int:
    """Measure, print, and with `--write` keep the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__)
    parser.add_argument("--flights", type=int, default=100_000, help="rows of the table before the first run (100000)")
    parser.add_argument("--days", type=int, default=100, help="days they are of (100)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind (3)")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        measured = measure(Path(folder), options.flights, options.days, options.runs)
    made = report(measured, options.flights, options.days, datetime.now(UTC))
    print(made)
    if options.write:
        before, rest = REPORT.read_text().split(BEGIN)
        REPORT.write_text(before + made + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
