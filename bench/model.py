"""Measures dbt and Great Expectations per model run on both engines: `python -m bench.model --flights 100000`.

Rows are put into the merged tables by plain SQL, and published by the steps of the flow `model` in one process. Each
step is timed, the first run (imports, everything built) apart from those that follow. BigQuery is the emulator, where
its environment was built (`make test-bigquery`): its seconds show the number of steps, not the time that Google takes.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from bench.model_places import OnBigQuery, OnDuckDB, Platform
from bench.model_run import ModelRun
from millrace.project import CODE
from tests.support.bigquery import ENVIRONMENT, emulator

FIRST = date(2013, 1, 1)
ENGINES = ("DuckDB", "BigQuery")
REPORT = CODE / "docs" / "benchmarks.md"
BEGIN, END = "<!-- model: begin -->", "<!-- model: end -->"
PACKAGES = ("duckdb", "dbt-core", "great-expectations")
STEPS = ("gate of merged rows", "dbt build", "gate of candidates", "publish")


@contextmanager
def opened(engine: str, folder: Path, per_day: int) -> Iterator[Platform]:
    """An empty warehouse on an engine."""
    if engine == "DuckDB":
        yield OnDuckDB(folder, per_day)
        return
    with emulator(folder / "emulator") as bigquery, bigquery.prefix() as prefix:
        yield OnBigQuery(folder, per_day, bigquery.warehouse(prefix))


def measure(place: Platform, days: int, runs: int) -> dict[str, list[ModelRun]]:
    """The first run; runs after a day of flights each; and as many that build everything."""
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


def report(measured: dict[str, dict[str, list[ModelRun]]], flights: int, days: int, now: datetime) -> str:
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
    for engine, kinds in measured.items():
        for kind, runs in kinds.items():
            figures = [statistics.median(run.seconds[step] for run in runs) for step in STEPS]
            shown = [f"{figure:.2f}" for figure in (*figures, statistics.median(run.total_s for run in runs))]
            lines.append(f"| {engine}: {kind} | {' | '.join(shown)} | {len(runs[-1].marts)} |")
    return "\n".join([*lines, END])


def main() -> int:
    """Measure, print, and with `--write` keep the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__)
    parser.add_argument("--flights", type=int, default=100_000, help="rows of the table before the first run (100000)")
    parser.add_argument("--days", type=int, default=100, help="days they are of (100)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind (3)")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="this engine only (both)")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    options = parser.parse_args()
    measured = {}
    for engine in options.engine or ENGINES:
        if engine == "BigQuery" and not (ENVIRONMENT / "ready").exists():
            print(
                "BigQuery is left out: `make test-bigquery` has not built the emulator's environment", file=sys.stderr
            )
            continue
        with (
            tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder,
            opened(engine, Path(folder), options.flights // options.days) as place,
        ):
            measured[f"{engine} (emulator)" if engine == "BigQuery" else engine] = measure(
                place, options.days, options.runs
            )
    table = report(measured, options.flights, options.days, datetime.now(UTC))
    print(table)
    if options.write:
        before, rest = REPORT.read_text().split(BEGIN)
        REPORT.write_text(before + table + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
