"""Writes a page of the warehouse's behaviour on each engine, from the results of tests that run on all of them."""

import re
from pathlib import Path

import pytest

SUITE = "_conformance.py"
ENGINES = ("duckdb", "bigquery")
NAMES = {"duckdb": "DuckDB", "bigquery": "BigQuery (emulator)"}
CASE = re.compile(r"test_(\w+)\[([^]]*)\]$")
HEADER = """# What the warehouse does on each engine

Written by `make test-bigquery` from the results of `tests/integration/test_*_conformance.py`: the same test bodies on
both engines. "holds" means that every case passed. What the emulator can't show stands in
[bigquery.md](bigquery.md).

"""


class EnginesPage:
    """Collects results; writes the page when all have passed on every engine, so that a broken run changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, dict[str, list[str]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one phase of a test."""
        case = CASE.search(report.nodeid)
        if SUITE not in report.nodeid or not case or (report.passed and report.when != "teardown"):
            return
        engine = next((name for name in ENGINES if name in case[2].split("-")), "")
        differs = [str(value) for key, value in report.user_properties if key == "differs"]
        cell = self._found.setdefault(case[1].replace("_", " "), {}).setdefault(engine, [])
        cell += differs if report.passed else [report.outcome]

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        rows = [[title, *(self._cell(cells, engine) for engine in ENGINES)] for title, cells in self._found.items()]
        if not rows or any("failed" in row or "not run" in row for row in rows):
            return
        lines = [["behaviour", *(NAMES[engine] for engine in ENGINES)], ["---"] * 3, *sorted(rows)]
        self._path.write_text(HEADER + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")

    @staticmethod
    def _cell(cells: dict[str, list[str]], engine: str) -> str:
        outcomes = cells.get(engine)
        if outcomes is None:
            return "not run"
        if "failed" in outcomes or "skipped" in outcomes:
            return "failed" if "failed" in outcomes else "not run"
        return "; ".join(dict.fromkeys(outcomes)) or "holds"
