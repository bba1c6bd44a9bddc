"""The published marts in a DuckDB file that readers open, and the candidates that may replace it."""

import os
import shutil
import time
from pathlib import Path

import duckdb

from millrace.domain.errors import Fatal, MartsMoved, SettingsError
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb.commit import number
from millrace.warehouse.duckdb.lock import held

MARK = "ops.millrace_candidate"
SCHEMAS = ("marts", "ops")
DAY_S = 24 * 3600


class Marts:
    """Candidates beside the warehouse's file; publishing replaces the marts' file whole."""

    def __init__(self, warehouse: Path, marts: Path, keep_days: float, lock_timeout_s: float) -> None:
        if marts.stem in SCHEMAS:
            raise SettingsError(
                f"warehouse.marts_url: DuckDB can't tell the schema {marts.stem} from a file {marts.name};"
                " name the file otherwise, published.duckdb say"
            )
        self._file, self._marts = warehouse, marts
        self._keep_s, self._timeout_s = keep_days * DAY_S, lock_timeout_s
        self._lock = marts.with_name(marts.name + ".lock")

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Variables that make dbt read this warehouse and build into a candidate."""
        return {
            "MILLRACE_DBT_TARGET": "duckdb",
            "MILLRACE_CANDIDATE_PATH": str(self.candidate(candidate)),
            "MILLRACE_WAREHOUSE_PATH": str(self._file),
        }

    def rows(self) -> dict[str, int]:
        """Rows per mart, as readers see them now."""
        return _mart_rows(self._marts) if self._marts.exists() else {}

    def begin(self, candidate: str, *, empty: bool) -> None:
        """Make a candidate that holds what is published now, or nothing; what it held before is gone."""
        self._prune()
        path = self.candidate(candidate)
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f"{path.name}*"):
            leftover.unlink()
        if self._marts.exists() and not empty:
            shutil.copyfile(self._marts, path)  # an open file stays what it is when another replaces it
            base = _mark(path)[0]
        else:
            base = self._published()
        with duckdb.connect(str(path)) as db:
            db.execute("CREATE SCHEMA IF NOT EXISTS ops")
            db.execute(f"CREATE OR REPLACE TABLE {MARK} AS SELECT $1 AS candidate, $2 AS base", [candidate, base])

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate, readers seeing old or new; returns rows per mart. Again: no change.

        Raises:
            MartsMoved: other marts were published since the candidate was begun.
        """
        path = self.candidate(candidate)
        with held(self._lock, f"publish {candidate}", self._timeout_s):
            published = self._published()
            if not path.exists():
                if published != candidate:
                    raise Fatal(f"{candidate} is neither a candidate nor what is published; run model again")
                return _mart_rows(self._marts)
            rows = _mart_rows(path)
            if not rows:
                raise Fatal(f"{path} has nothing in the schema marts; did dbt build it?")
            base = _mark(path)[1]
            if base != published:
                raise MartsMoved(
                    f"{candidate} was begun from {base or 'no marts'}, but {published or 'nothing'} is published now:"
                    " it would take back what is in there; run model again"
                )
            _sync(path)
            os.replace(path, self._marts)
            _sync(self._marts.parent)
        self._prune()
        return rows

    def candidate(self, candidate: str) -> Path:
        """File of a candidate."""
        return self._file.parent / "candidates" / f"{candidate}.duckdb"

    def _published(self) -> str:
        return _mark(self._marts)[0] if self._marts.exists() else ""

    def _prune(self) -> None:
        """Delete candidates that were never published and that no one wants to look at any more."""
        for path in (self._file.parent / "candidates").glob("*.duckdb*"):
            if path.stat().st_mtime < time.time() - self._keep_s:
                path.unlink(missing_ok=True)


def _mark(path: Path) -> tuple[str, str]:
    """Name of the candidate that a file is or was, and of the one that was published when it was begun."""
    with duckdb.connect(str(path), read_only=True) as db:
        found = db.execute(f"SELECT * FROM {MARK}").fetchone()  # noqa: S608
    if found is None:
        raise Fatal(f"{path} does not say which candidate it is; run model with full=true")
    return str(found[0]), str(found[1]) if len(found) > 1 else ""


def _mart_rows(path: Path) -> dict[str, int]:
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'marts' ORDER BY 1"
    with duckdb.connect(str(path), read_only=True) as db:
        found = db.execute(query).fetchall()
        return {name: number(db, f"SELECT count(*) FROM marts.{sql.quote(name)}") for (name,) in found}  # noqa: S608


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
