"""The published marts in a DuckDB file that readers open, and the candidates that may replace it."""

import os
import time
from pathlib import Path

import duckdb

from contracts.errors import Fatal
from warehouse import duckdb_sql as sql
from warehouse.duckdb_commit import number

KEEP_CANDIDATES_S = 24 * 3600
MARK = "millrace_candidate"


class Marts:
    """Candidates beside the warehouse's file; publishing replaces the marts' file whole."""

    def __init__(self, warehouse: Path, marts: Path) -> None:
        self._file, self._marts = warehouse, marts

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Variables that make dbt read this warehouse and build into a candidate."""
        path = self.candidate(candidate)
        path.parent.mkdir(parents=True, exist_ok=True)
        return {
            "MILLRACE_DBT_TARGET": "duckdb",
            "MILLRACE_CANDIDATE_PATH": str(path),
            "MILLRACE_WAREHOUSE_PATH": str(self._file),
        }

    def rows(self) -> dict[str, int]:
        """Rows per mart, as readers see them now."""
        return _mart_rows(self._marts) if self._marts.exists() else {}

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate, readers seeing old or new; returns rows per mart. Again: no change."""
        path = self.candidate(candidate)
        if not path.exists():
            if self._published() != candidate:
                raise Fatal(f"{candidate} is neither a candidate nor what is published; run model again")
            return _mart_rows(self._marts)
        with duckdb.connect(str(path)) as db:
            db.execute("CREATE SCHEMA IF NOT EXISTS ops")
            db.execute(f"CREATE OR REPLACE TABLE ops.{MARK} AS SELECT {sql.text(candidate)} AS candidate")
            db.execute("CHECKPOINT")
        rows = _mart_rows(path)
        if not rows:
            raise Fatal(f"{path} has no table in the schema marts; did dbt build it?")
        _sync(path)
        os.replace(path, self._marts)
        _sync(self._marts.parent)
        self._prune()
        return rows

    def candidate(self, candidate: str) -> Path:
        """File of a candidate."""
        return self._file.parent / "candidates" / f"{candidate}.duckdb"

    def _published(self) -> str:
        if not self._marts.exists():
            return ""
        with duckdb.connect(str(self._marts), read_only=True) as db:
            row = db.execute(f"SELECT candidate FROM ops.{MARK}").fetchone()  # noqa: S608
        return str(row[0]) if row else ""

    def _prune(self) -> None:
        """Delete candidates that were never published, once no run can want them."""
        for path in (self._file.parent / "candidates").glob("*.duckdb*"):
            if path.stat().st_mtime < time.time() - KEEP_CANDIDATES_S:
                path.unlink(missing_ok=True)


def _mart_rows(path: Path) -> dict[str, int]:
    with duckdb.connect(str(path), read_only=True) as db:
        found = db.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts' ORDER BY 1").fetchall()
        return {name: number(db, f"SELECT count(*) FROM marts.{sql.quote(name)}") for (name,) in found}  # noqa: S608


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
