"""The warehouse in DuckDB files: one that the merge writes, one candidate per model run, one that readers open.

While a process writes a DuckDB file no other can open it: files are opened late and closed early, under a lock that
names its holder, and readers of the marts have a file of their own, replaced whole.
"""

import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from contracts import names
from contracts.batch import Balance, Batch, Staged
from contracts.errors import Fatal, HeadMoved, SettingsError
from contracts.ledger import Head, LedgerEntry
from contracts.stream import StreamContract
from lake.store import Lake
from warehouse import duckdb_sql as sql
from warehouse.lock import held

log = logging.getLogger(__name__)

SCHEME = "duckdb:///"
LOOK_BACK = timedelta(days=7)
KEEP_CANDIDATES_S = 24 * 3600
BALANCE = tuple(Balance.model_fields)
MARK = "millrace_candidate"


def file_of(url: str) -> Path:
    """File of a `duckdb:///<file>` URL.

    Raises:
        SettingsError: it is no such URL.
    """
    if not url.startswith(SCHEME) or len(url) == len(SCHEME):
        raise SettingsError(f"{url!r} is no DuckDB file; write {SCHEME}<file>")
    return Path(url.removeprefix(SCHEME)).resolve()


class DuckDBWarehouse:
    """Merged tables and ledger in one file; the published marts in another."""

    def __init__(self, url: str, marts_url: str, lock_timeout_s: float = 120.0) -> None:
        self.url, self.marts_url = url, marts_url
        self._file, self._marts = file_of(url), file_of(marts_url)
        self._lock = self._file.with_name(self._file.name + ".lock")
        self._timeout_s = lock_timeout_s

    def ensure(self, contract: StreamContract) -> None:
        """Create what a stream needs (table, live view, head) and the ledger; add columns the contract gained."""
        with self._reading(f"look at {contract.id}") as db:
            there = _columns(db, contract) if db else {}
        if set(sql.all_columns(contract)) <= set(there):
            return
        with self._writing(f"prepare {contract.id}") as db:
            db.execute("BEGIN")
            db.execute(sql.OPS)
            db.execute(sql.create_table(contract))
            there = _columns(db, contract)
            for name, kind in sql.all_columns(contract).items():
                if name not in there:
                    db.execute(f"ALTER TABLE {sql.table(contract)} ADD COLUMN {sql.quote(name)} {kind}")
            db.execute(sql.create_view(contract))
            db.execute("COMMIT")

    def head(self, contract: StreamContract) -> Head:
        """How far a stream is; a fresh Head when nothing was merged."""
        with self._reading(f"read the head of {contract.id}") as db:
            if db is None or not _exists(db, "ops", names.head_table(contract.source, contract.stream)):
                return Head()
            return _head(db, contract)

    def merged_objects(self, contract: StreamContract, objects: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of the (object, generation) pairs that the ledger has."""
        asked = list(objects)
        with self._reading(f"read the ledger of {contract.id}") as db:
            if db is None or not asked or not _exists(db, "ops", "ledger_objects"):
                return set()
            return _merged_objects(db, contract, asked)

    def commit(
        self, contract: StreamContract, batch: Batch, staged: Staged, lake: Lake, *, run_id: str, at: datetime
    ) -> Balance:
        """Merge a staged batch with head and ledger in one transaction; the same batch again gives the same balance.

        Raises:
            HeadMoved: another batch was committed since this one was opened.
            BalanceError: the rows do not add up; nothing was committed.
        """
        self.ensure(contract)
        with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
            upserts = _download(lake, staged.upserts, Path(folder))
            deletes = _download(lake, staged.deletes, Path(folder))
            with self._writing(f"commit {batch.id}") as db:
                return _commit(db, contract, batch, staged, (upserts, deletes), run_id, at)

    def balance(self, batch_id: str) -> Balance | None:
        """The balance of a committed batch, None when it was not committed."""
        with self._reading(f"read the balance of {batch_id}") as db:
            return _balance(db, batch_id) if db and _exists(db, "ops", "ledger") else None

    def append(self, *entries: LedgerEntry) -> None:
        """Add facts to the ledger, all or none; the same kind, batch and run again changes nothing."""
        with self._writing("append to the ledger") as db:
            db.execute("BEGIN")
            db.execute(sql.OPS)
            for entry in entries:
                _append(db, entry)
            db.execute("COMMIT")

    def ledger(self, since: datetime | None = None, kinds: Sequence[str] = ()) -> list[LedgerEntry]:
        """Facts in the order they were written, from `since` on."""
        with self._reading("read the ledger") as db:
            if db is None or not _exists(db, "ops", "ledger"):
                return []
            query = f'SELECT {sql.LEDGER_COLUMNS} FROM ops.ledger WHERE ("at" >= $1 OR $1 IS NULL)'  # noqa: S608
            query += " AND (len($2) = 0 OR list_contains($2, kind)) ORDER BY seq"
            rows = db.execute(query, [since, list(kinds)]).fetchall()
        return [LedgerEntry.model_validate(dict(zip(sql.LEDGER_FIELDS, row, strict=True))) for row in rows]

    @contextmanager
    def reader(self, purpose: str) -> Iterator[None]:
        """Hold off writers while another program (dbt) reads the tables. Raises WarehouseBusy."""
        with held(self._lock, purpose, self._timeout_s, shared=True):
            try:
                yield
            finally:
                _release_dbt()

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Variables that make dbt read this warehouse and build into a candidate."""
        path = self._candidate(candidate)
        path.parent.mkdir(parents=True, exist_ok=True)
        return {
            "MILLRACE_DBT_TARGET": "duckdb",
            "MILLRACE_CANDIDATE_PATH": str(path),
            "MILLRACE_WAREHOUSE_PATH": str(self._file),
        }

    def candidate_url(self, candidate: str) -> str:
        """Where Great Expectations finds a candidate, as an SQLAlchemy URL."""
        return f"{SCHEME}{self._candidate(candidate)}"

    def marts(self) -> dict[str, int]:
        """Rows per mart, as readers see them now."""
        return _mart_rows(self._marts) if self._marts.exists() else {}

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate, readers seeing old or new; returns rows per mart. Again: no change."""
        path = self._candidate(candidate)
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

    def close(self) -> None:
        """Give back connections and locks: none is kept between calls."""

    def _candidate(self, candidate: str) -> Path:
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

    @contextmanager
    def _writing(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with held(self._lock, purpose, self._timeout_s), self._connection(read_only=False) as db:
            yield db

    @contextmanager
    def _reading(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection | None]:
        with held(self._lock, purpose, self._timeout_s, shared=True):
            if not self._file.exists():
                yield None
                return
            with self._connection(read_only=True) as db:
                yield db

    @contextmanager
    def _connection(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        db = duckdb.connect(str(self._file), read_only=read_only)
        try:
            db.execute("SET TimeZone = 'UTC'")
            yield db
        finally:
            db.close()


def _commit(
    db: duckdb.DuckDBPyConnection,
    contract: StreamContract,
    batch: Batch,
    staged: Staged,
    files: tuple[list[str], list[str]],
    run_id: str,
    at: datetime,
) -> Balance:
    db.execute(sql.stage(contract, *files))
    db.execute("BEGIN")
    try:
        if done := _balance(db, batch.id):
            db.execute("ROLLBACK")
            return done
        _advance_head(db, contract, batch)
        stale = _number(db, sql.count_stale(contract))
        db.execute(sql.merge(contract, batch.id))
        balance = Balance(
            rows_in=staged.rows_in,
            merged=_number(db, sql.count_merged(contract, batch.id)),
            superseded=staged.superseded,
            stale=stale,
            quarantined=sum(q.rows for q in staged.quarantined),
        )
        balance.check(batch.id)
        _append(db, LedgerEntry(kind="merged", batch_id=batch.id, source=batch.source, stream=batch.stream,
                                run_id=run_id, at=at, **balance.model_dump()))  # fmt: skip
        _append_objects(db, batch)
        _append_quarantine(db, batch, staged, at)
        db.execute("COMMIT")
    except BaseException:
        _rollback(db)
        raise
    return balance


def _rollback(db: duckdb.DuckDBPyConnection) -> None:
    try:
        db.execute("ROLLBACK")
    except duckdb.Error:
        return  # the transaction had ended; what is in the file decides


def _advance_head(db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch) -> None:
    """Move the head from the epoch that the batch was opened at; no two batches can."""
    head = _head(db, contract)
    again = _merged_objects(db, contract, [(o.name, o.generation) for o in batch.objects])
    if head.epoch != batch.head_epoch or again:
        why = f"{len(again)} of its objects are merged already" if again else f"the head is at {head.epoch}"
        raise HeadMoved(
            f"batch {batch.id} was opened at epoch {batch.head_epoch} of {contract.id}, but {why}; another committer"
            " won, what is still pending is merged by the next run"
        )
    newest = max((path.split("/")[3] for path in batch.manifests if names.parse_manifest_path(path)), default="")
    day = max(head.oldest_pending_day, _days_before(newest)) if newest else head.oldest_pending_day
    epoch = max([head.connection_epoch, *(o.epoch for o in batch.objects)])
    changed = db.execute(
        f"UPDATE {sql.head_table(contract)} SET epoch = epoch + 1, batch_id = ?, connection_epoch = ?,"  # noqa: S608
        " oldest_pending_day = ? WHERE epoch = ?",
        [batch.id, epoch, day, batch.head_epoch],
    ).fetchone()
    if not changed or changed[0] != 1:
        raise HeadMoved(f"batch {batch.id}: the head of {contract.id} moved while it was being committed")


def _days_before(day: str) -> str:
    """A manifest may come some days after its sync was started: look back that far for pending ones."""
    return (datetime.strptime(day, "%Y%m%d") - LOOK_BACK).strftime("%Y%m%d")


def _append(db: duckdb.DuckDBPyConnection, entry: LedgerEntry) -> None:
    marks = ", ".join("?" for _ in sql.LEDGER_FIELDS)
    db.execute(
        f"INSERT INTO ops.ledger ({sql.LEDGER_COLUMNS}) SELECT {marks} WHERE NOT EXISTS"  # noqa: S608
        " (SELECT 1 FROM ops.ledger WHERE kind = ? AND batch_id = ? AND run_id = ?)",
        [*entry.model_dump().values(), entry.kind, entry.batch_id, entry.run_id],
    )


def _append_objects(db: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    rows = [(batch.id, batch.source, batch.stream, o.name, o.generation, o.job_id, o.rows) for o in batch.objects]
    db.executemany("INSERT INTO ops.ledger_objects VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _append_quarantine(db: duckdb.DuckDBPyConnection, batch: Batch, staged: Staged, at: datetime) -> None:
    rows = [
        (batch.id, batch.source, batch.stream, q.reason, q.object, q.generation, q.row, q.rows, q.detail, 1, at)
        for q in staged.quarantined
    ]
    if rows:
        db.executemany("INSERT INTO ops.quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _head(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> Head:
    fields = tuple(Head.model_fields)
    row = db.execute(f"SELECT {', '.join(fields)} FROM {sql.head_table(contract)}").fetchone()  # noqa: S608
    return Head.model_validate(dict(zip(fields, row, strict=True))) if row else Head()


def _merged_objects(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, asked: list[tuple[str, int]]
) -> set[tuple[str, int]]:
    rows = db.execute(
        "SELECT o.object, o.generation FROM ops.ledger_objects o"
        " JOIN (SELECT unnest($1::VARCHAR[]) AS object, unnest($2::BIGINT[]) AS generation) a"
        " ON a.object = o.object AND a.generation = o.generation WHERE o.source = $3 AND o.stream = $4",
        [[a[0] for a in asked], [a[1] for a in asked], contract.source, contract.stream],
    ).fetchall()
    return {(str(name), int(generation)) for name, generation in rows}


def _balance(db: duckdb.DuckDBPyConnection, batch_id: str) -> Balance | None:
    row = db.execute(
        f"SELECT {', '.join(BALANCE)} FROM ops.ledger WHERE kind = 'merged' AND batch_id = ?",  # noqa: S608
        [batch_id],
    ).fetchone()
    return Balance.model_validate(dict(zip(BALANCE, row, strict=True))) if row else None


def _columns(db: duckdb.DuckDBPyConnection, contract: StreamContract) -> dict[str, str]:
    rows = db.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? AND NOT internal",
        [names.raw_schema(contract.source), contract.stream],
    ).fetchall()
    return dict(rows)


def _exists(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> bool:
    query = "SELECT 1 FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?"
    return db.execute(query, [schema, table]).fetchone() is not None


def _number(db: duckdb.DuckDBPyConnection, query: str) -> int:
    row = db.execute(query).fetchone()
    return int(row[0]) if row else 0


def _mart_rows(path: Path) -> dict[str, int]:
    with duckdb.connect(str(path), read_only=True) as db:
        found = db.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts' ORDER BY 1").fetchall()
        return {name: _number(db, f"SELECT count(*) FROM marts.{sql.quote(name)}") for (name,) in found}  # noqa: S608


def _download(lake: Lake, files: Sequence[str], folder: Path) -> list[str]:
    paths = []
    for name in files:
        path = folder / name.rsplit("/", 1)[1]
        path.write_bytes(lake.read(name))
        paths.append(str(path))
    return paths


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _release_dbt() -> None:
    """Close what an in-process dbt leaves open: it would keep the file locked. Does nothing when dbt did not run."""
    import sys

    module = sys.modules.get("dbt.adapters.duckdb.connections")
    if module is not None:
        module.DuckDBConnectionManager.close_all_connections()
