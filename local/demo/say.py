"""Prints one line per run of the demonstration, with the totals of its artifacts, as the run ends."""

import sys
import time
from typing import Any

from local.demo.prefect import Run
from millrace.domain.alerts import work

Rows = dict[str, int]
COLOURS = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
FAILED = ("FAILED", "CRASHED", "CANCELLED")


class Say:
    """Printer of lines; it uses colours only on a terminal."""

    def __init__(self) -> None:
        self._began, self._colours = time.monotonic(), sys.stdout.isatty()

    def __call__(self, text: str, colour: str = "") -> None:
        """Print one line."""
        if colour and self._colours:
            text = f"\033[{COLOURS[colour]}m{text}\033[0m"
        print(text, flush=True)

    def step(self, text: str, seconds: float | None = None, colour: str = "") -> None:
        """Print one line about a step, with its duration."""
        took = "" if seconds is None else f"  {seconds:5.1f} s"
        self(f"  {text:<86}{took}", colour)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.step(text, colour="yellow")

    def error(self, text: str) -> None:
        """Print an error."""
        self(f"error: {text}", "red")


def describe(run: Run, artifacts: dict[str, list[dict[str, Any]]], rows: Rows, say: Say) -> None:
    """Print a run that ended, and add the row counts of its tables to `rows`."""
    if run.bad:
        say.step(f"{work(run.name)}: {run.state.lower()}: {run.message}", run.seconds, "red")
        return
    details = [text for key, table in artifacts.items() if (text := _details(key, table, rows))]
    if details or run.flow in ("ingest", "reconcile"):
        say.step(f"{work(run.name)}: {'; '.join(details) or 'done'}", run.seconds, "green")


def _details(key: str, table: list[dict[str, Any]], rows: Rows) -> str:
    if key.startswith("landed-"):
        landed = sum(int(line["rows"]) for line in table)
        _add(rows, "landed", landed)
        return f"{landed:,} rows landed in {sum(int(line['files']) for line in table)} files"
    if key.startswith("merged-"):
        for name in ("rows_in", "merged", "superseded", "stale", "quarantined"):
            _add(rows, name, sum(int(line[name]) for line in table))
        merged, quarantined = (sum(int(line[n]) for line in table) for n in ("merged", "quarantined"))
        return f"{merged:,} rows merged" + (f", {quarantined:,} quarantined" if quarantined else "")
    if key == "reconcile":
        return f"{sum(int(line['count']) for line in table)} omissions were found" if table else "nothing was missing"
    if key == "quality":
        held = sum(line["success"] == "True" for line in table)
        _add(rows, "expectations", len(table))
        return f"{held} of {len(table)} expectations hold"
    if key == "published-marts":
        rows["published"] = sum(int(line["rows"]) for line in table)
        return f"{len(table)} marts published, {rows['published']:,} rows"
    return ""


def _add(rows: Rows, name: str, count: int) -> None:
    rows[name] = rows.get(name, 0) + count
