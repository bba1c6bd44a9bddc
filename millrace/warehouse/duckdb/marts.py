"""The marts in DuckDB: a candidate's file in, which replaces the file that readers open."""

import os
import time
from collections.abc import Collection
from pathlib import Path

import duckdb
import pyarrow as pa

from millrace.domain.errors import (
    CandidateMissing,
    DatabaseUnreadable,
    MartsMissing,
    MartsMoved,
    SettingsError,
    WarehouseRefused,
)
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb import storage
from millrace.warehouse.duckdb.catalog import number
from millrace.warehouse.duckdb.lock import hold
from millrace.warehouse.duckdb.restore import restore_tables
from millrace.warehouse.duckdb.strangers import carry_strangers, drop_strangers, own, record_own

MARK = "ops.millrace_candidate"
SCHEMAS = ("marts", "ops")
DAY_S = 24 * 3600


class Marts:
    """Candidates next to the warehouse's file; a publication replaces the whole file of the marts."""

    def __init__(self, warehouse: Path, marts: Path, keep_days: float, lock_timeout_s: float) -> None:
        if marts.stem in SCHEMAS:
            raise SettingsError(
                f"warehouse.marts_url: DuckDB can't tell the schema {marts.stem} from a file {marts.name};"
                " give the file another name, for example published.duckdb"
            )
        self._file, self._marts = warehouse, marts
        self._keep_s, self._timeout_s = keep_days * DAY_S, lock_timeout_s
        self._lock = marts.with_name(marts.name + ".lock")

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and build into a candidate."""
        return self._environment(self.candidate(candidate))

    def published_environment(self, folder: Path) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and a copy of the published marts, made in `folder`.

        dbt opens its database for writing, which would lock out the readers of the marts.
        """
        copy = folder / "published.duckdb"
        storage.copy(self._marts, copy)
        return self._environment(copy)

    def _environment(self, database: Path) -> dict[str, str]:
        return {
            "MILLRACE_DBT_TARGET": "duckdb",
            "MILLRACE_CANDIDATE_PATH": str(database),
            "MILLRACE_WAREHOUSE_PATH": str(self._file),
        }

    def rows(self) -> dict[str, int]:
        """Return rows per mart, as readers see them now."""
        return _mart_rows(self._marts) if self._marts.exists() else {}

    def begin_candidate(self, candidate: str, *, empty: bool) -> None:
        """Create a candidate as a copy of the published marts, or empty; its former content is deleted."""
        self._prune()
        path = self.candidate(candidate)
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f"{path.name}*"):
            leftover.unlink()
        if self._marts.exists() and not empty:
            storage.copy(self._marts, path)
            base = _mark(path)[0]
        else:
            storage.create(path)
            base = self._published()
        with duckdb.connect(str(path)) as db:
            drop_strangers(db)
            db.execute("CREATE SCHEMA IF NOT EXISTS ops")
            db.execute(f"CREATE OR REPLACE TABLE {MARK} AS SELECT $1 AS candidate, $2 AS base", [candidate, base])

    def restore(self, candidate: str, tables: Collection[str], known: Collection[str] | None) -> None:
        """Make tables and views of a candidate what is published; nothing happens once the candidate is published.

        Raises:
            WarehouseRefused: a published view can't be made in the candidate.
        """
        if self.candidate(candidate).exists():
            restore_tables(self._marts, self.candidate(candidate), tables, known)

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate and return rows per mart; readers see old or new. Again: no change.

        Raises:
            CandidateMissing: the candidate does not exist, and is not the published one.
            MartsMissing: the candidate has no marts.
            MartsMoved: other marts were published since the candidate was begun.
            WarehouseRefused: the published file has a table of a mart's name that no publication made.
        """
        path = self.candidate(candidate)
        with hold(self._lock, f"publish {candidate}", self._timeout_s):
            published = self._published()
            if not path.exists():
                if published != candidate:
                    raise CandidateMissing(f"{candidate} is neither a candidate nor what is published; run model again")
                return _mart_rows(self._marts)
            rows = _mart_rows(path)
            if not rows:
                raise MartsMissing(f"{path} has nothing in the schema marts; check that dbt built it")
            base = _mark(path)[1]
            if base != published:
                raise MartsMoved(
                    f"{candidate} was begun from {base or 'no marts'}, but {published or 'nothing'} is published now:"
                    " it would revert that publication; run model again"
                )
            self._keep_strangers(path)
            _sync(path)
            os.replace(path, self._marts)
            _sync(self._marts.parent)
        self._prune()
        return rows

    def _keep_strangers(self, candidate: Path) -> None:
        """Put into a candidate, which is on no other list than its own, what no publication made."""
        with duckdb.connect(str(candidate)) as db:
            drop_strangers(db)  # of an earlier attempt
            record_own(db)
        if self._marts.exists():
            carry_strangers(self._marts, candidate)

    def candidate(self, candidate: str) -> Path:
        """Return the file of a candidate."""
        return self._file.parent / "candidates" / f"{candidate}.duckdb"

    def _published(self) -> str:
        return _mark(self._marts)[0] if self._marts.exists() else ""

    def _prune(self) -> None:
        """Delete unpublished candidates that are older than the time for which they are kept."""
        for path in (self._file.parent / "candidates").glob("*.duckdb*"):
            if path.stat().st_mtime < time.time() - self._keep_s:
                path.unlink(missing_ok=True)


def read(file: Path, query: str) -> pa.Table:
    """Return the rows of a query over the published marts.

    Raises:
        SettingsError: nothing is published, or the file can't be read.
        WarehouseRefused: DuckDB rejected the query.
    """
    try:
        with duckdb.connect(str(file), read_only=True) as db:
            return db.sql(query).to_arrow_table()
    except duckdb.IOException as error:
        raise SettingsError(f"nothing is published at {file}, or it can't be read: {error}") from None
    except duckdb.Error as error:
        raise WarehouseRefused(f"DuckDB rejected a query of the marts: {error}") from None


def _mark(path: Path) -> tuple[str, str]:
    """Return the name of a file's candidate, and of the candidate that was published when it was begun."""
    with duckdb.connect(str(path), read_only=True) as db:
        mark = db.execute(f"SELECT * FROM {MARK}").fetchone()  # noqa: S608
    if mark is None:
        raise DatabaseUnreadable(f"{path} has no mark of its candidate; run model with full=true")
    return str(mark[0]), str(mark[1]) if len(mark) > 1 else ""


def _mart_rows(path: Path) -> dict[str, int]:
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'marts' ORDER BY 1"
    with duckdb.connect(str(path), read_only=True) as db:
        made = own(db)
        tables = [str(name) for (name,) in db.execute(query).fetchall() if f"marts.{name}" in made]
        return {name: number(db, f"SELECT count(*) FROM marts.{sql.quote(name)}") for name in tables}  # noqa: S608


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
