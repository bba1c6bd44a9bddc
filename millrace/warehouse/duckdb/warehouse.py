"""The warehouse in DuckDB files: one that the merge writes, one candidate per model run, one that readers open.

While a process writes a DuckDB file no other can open it: files are opened late and closed early, under a lock that
names its holder, and readers of the marts have a file of their own, replaced whole.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import duckdb

from millrace.contracts.erasure import Erasure
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, RefusedObject, Staged, StagingFormat
from millrace.domain.errors import SettingsError, WarehouseBusy
from millrace.domain.ledger import Head, LedgerEntry, MergedSync
from millrace.domain.quality import QualityFact, QualityRun
from millrace.domain.types import Column
from millrace.lake.store import Lake, ObjectMissing
from millrace.warehouse.duckdb import commit as transaction
from millrace.warehouse.duckdb import erase as erasing
from millrace.warehouse.duckdb import look as looks
from millrace.warehouse.duckdb import model as model
from millrace.warehouse.duckdb import redrive as redrives
from millrace.warehouse.duckdb import schema as schema
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb.lock import POLL_S, held
from millrace.warehouse.duckdb.marts import Marts
from millrace.warehouse.duckdb.staging import download

SCHEME = "duckdb:///"
MEMORY_BYTES = 1 << 30
KEEP_CANDIDATES_DAYS = 3.0
VACUUM_TASKS = 1  # of three row groups each; DuckDB's 100 write a table of ten million rows anew with every commit


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

    staging: StagingFormat = "arrow"

    def __init__(
        self,
        url: str,
        marts_url: str,
        lock_timeout_s: float = 120.0,
        memory_bytes: int = MEMORY_BYTES,
        keep_candidates_days: float = KEEP_CANDIDATES_DAYS,
    ) -> None:
        self.url, self.marts_url = url, marts_url
        self._file = file_of(url)
        self._published = Marts(self._file, file_of(marts_url), keep_candidates_days, lock_timeout_s)
        self._lock = self._file.with_name(self._file.name + ".lock")
        self._timeout_s, self._memory_bytes = lock_timeout_s, memory_bytes
        self._shared: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def session(self, purpose: str, contract: StreamContract | None = None) -> Iterator[None]:
        """Let a block's reads share one connection; nothing may be written in it, and no other process writes.

        What a stream needs is there, as `ensure` makes it, where its contract is given.

        Raises:
            ContractError: the table has a column of a type that the contract's can't hold.
            WarehouseBusy: another process writes.
        """
        with ExitStack() as opened:
            db = opened.enter_context(self._reading(purpose))
            if contract and not (db and schema.is_prepared(db, contract)):
                opened.close()
                self.ensure(contract)
                db = opened.enter_context(self._reading(purpose))
            self._shared = db
            try:
                yield
            finally:
                self._shared = None

    def ensure(self, contract: StreamContract) -> None:
        """Create what a stream needs (table, live view, head) and the ledger; add what the contract gained.

        Raises:
            ContractError: the table has a column of a type that the contract's can't hold.
        """
        with self._reading(f"look at {contract.id}") as db:
            if db and schema.is_prepared(db, contract):
                return
        with self._writing(f"prepare {contract.id}") as db:
            schema.prepare(db, contract)

    def migrate(self, contract: StreamContract) -> dict[str, str]:
        """Give a stream's columns the types of its contract that `ensure` does not; returns those that changed."""
        with self._writing(f"migrate {contract.id}") as db:
            return schema.prepare(db, contract, migrating=True)

    def head(self, contract: StreamContract) -> Head:
        """How far a stream is; a fresh Head when nothing was merged."""
        with self._reading(f"read the head of {contract.id}") as db:
            if db is None or not transaction.exists(db, "ops", names.head_table(contract.source, contract.stream)):
                return Head()
            return transaction.head(db, contract)

    def learned(self, contract: StreamContract) -> dict[str, Column]:
        """Columns that the table has and the contract lacks, or has with a narrower type: files brought them."""
        with self._reading(f"look at {contract.id}") as db:
            return schema.learned(db, contract) if db else {}

    def merged_objects(self, contract: StreamContract, objects: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of the (object, generation) pairs that the ledger has."""
        asked = list(objects)
        with self._reading(f"read the ledger of {contract.id}") as db:
            if db is None or not asked or not transaction.exists(db, "ops", "redrives"):
                return set()
            return transaction.merged_objects(db, contract, asked)

    def refused(self, contract: StreamContract) -> list[RefusedObject]:
        """Objects in quarantine that neither wait to be merged again nor were mended since."""
        with self._reading(f"read the quarantine of {contract.id}") as db:
            there = db and transaction.exists(db, "ops", "redrives")
            return redrives.refused(db, contract).get(contract.id, []) if db and there else []

    def quarantine(self) -> dict[str, list[RefusedObject]]:
        """What `refused` gives for each stream that has any, by `<source>.<stream>`."""
        with self._reading("read the quarantine") as db:
            return redrives.refused(db) if db and transaction.exists(db, "ops", "redrives") else {}

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], *, run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more; returns how many did not wait yet."""
        self.ensure(contract)
        with self._writing(f"redrive {contract.id}") as db:
            return redrives.redrive(db, contract, objects, run_id, at)

    def redriven(self, contract: StreamContract) -> set[str]:
        """Manifests of objects that wait to be merged once more, however old they are."""
        with self._reading(f"read the redrives of {contract.id}") as db:
            return redrives.redriven(db, contract) if db and transaction.exists(db, "ops", "redrives") else set()

    def commit(
        self, contract: StreamContract, batch: Batch, staged: Staged, lake: Lake, *, run_id: str, at: datetime
    ) -> Balance:
        """Merge a staged batch with head and ledger in one transaction; the same batch again gives the same balance.

        Raises:
            HeadMoved: another batch was committed since this one was opened.
            BalanceError: the rows do not add up; nothing was committed.
        """
        with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
            try:
                files = {kind: download(lake, getattr(staged, kind), Path(folder)) for kind in transaction.KINDS}
            except ObjectMissing:
                if done := self.balance(batch.id):
                    return done  # and closed, so that nothing of it is staged any more
                raise
            with self._writing(f"commit {batch.id}") as db:
                if not schema.is_prepared(db, contract):
                    schema.prepare(db, contract)
                return transaction.commit(db, contract, batch, staged, files, run_id, at)

    def erase(self, contract: StreamContract, erasure: Erasure, *, at: datetime) -> int:
        """Empty the rows of keys for ever; returns how many keys had a row. Again: no change, and 0."""
        self.ensure(contract)
        with self._writing(f"erase keys of {contract.id}") as db:
            return erasing.erase(db, contract, erasure, at)

    def balance(self, batch_id: str) -> Balance | None:
        """The balance of a committed batch, None when it was not committed."""
        with self._reading(f"read the balance of {batch_id}") as db:
            return transaction.balance(db, batch_id) if db and transaction.exists(db, "ops", "ledger") else None

    def append(self, *entries: LedgerEntry) -> None:
        """Add facts to the ledger, all or none; the same kind, batch and run again changes nothing."""
        with self._writing("append to the ledger") as db:
            db.execute("BEGIN")
            db.execute(sql.OPS)
            for entry in entries:
                transaction.append(db, entry)
            db.execute("COMMIT")

    def ledger(
        self, since: datetime | None = None, kinds: Sequence[str] = (), as_of: datetime | None = None
    ) -> list[LedgerEntry]:
        """Facts in the order they were written, from `since` on; who wants them `as_of` an instant is a `reader`."""
        with self._reading("read the ledger") as db:
            if db is None or not transaction.exists(db, "ops", "ledger"):
                return []
            query = f'SELECT {sql.LEDGER_COLUMNS} FROM ops.ledger WHERE ("at" >= $1 OR $1 IS NULL)'  # noqa: S608
            query += " AND (len($2) = 0 OR list_contains($2, kind)) ORDER BY seq"
            rows = db.execute(query, [since, list(kinds)]).fetchall()
        return [LedgerEntry.model_validate(dict(zip(sql.LEDGER_FIELDS, row, strict=True))) for row in rows]

    def merged_syncs(self, since: datetime) -> dict[str, list[MergedSync]]:
        """By batch that was merged from `since` on: of which syncs its files are."""
        with self._reading("read the ledger's objects") as db:
            return looks.merged_syncs(db, since) if db and transaction.exists(db, "ops", "ledger_objects") else {}

    def billed_bytes(self, since: datetime) -> dict[str, int] | None:
        """None: DuckDB bills nothing."""
        return None

    def audit(self, contract: StreamContract) -> int:
        """How many keys have two rows: any is an incident, as a merge finds only one of them."""
        with self._reading(f"audit {contract.id}") as db:
            there = db and contract.key and transaction.exists(db, names.raw_schema(contract.source), contract.stream)
            return transaction.number(db, sql.audit(contract)) if db and there else 0

    @contextmanager
    def reader(self, purpose: str) -> Iterator[None]:
        """Hold off writers while other programs (dbt, Great Expectations) read the tables. Raises WarehouseBusy."""
        with held(self._lock, purpose, self._timeout_s, shared=True):
            try:
                yield None
            finally:
                _release_dbt()

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Variables that make dbt read this warehouse and build into a candidate."""
        return self._published.dbt_environment(candidate)

    def begin(self, candidate: str, *, empty: bool) -> None:
        """Make a candidate that holds what is published now, or nothing; what it held before is gone."""
        self._published.begin(candidate, empty=empty)

    def touched_days(self, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
        """Days of the partition column in which batches changed rows; None when no list of days tells it."""
        with self._reading(f"look at what was merged of {contract.id}") as db:
            return model.touched_days(db, contract, batches) if db else None

    def merged_rows(self, contract: StreamContract, batches: Sequence[str], as_of: datetime | None) -> str:
        """SQL of the live rows that batches wrote and that are still the newest of their keys."""
        return model.merged_rows(contract, batches)

    def raw_url(self) -> str:
        """Where Great Expectations finds the merged tables, as an SQLAlchemy URL."""
        return f"{SCHEME}{self._file}"

    def record_quality(self, facts: Sequence[QualityFact]) -> None:
        """Keep results of the gate, all or none."""
        with self._writing("keep what the gate found") as db:
            model.record(db, facts)

    def newest_quality(self) -> list[QualityFact]:
        """The newest results of every suite."""
        with self._reading("read what the gate found") as db:
            return model.newest(db) if db and transaction.exists(db, "ops", "quality") else []

    def quality_runs(self, since: datetime) -> list[QualityRun]:
        """What each run of the gate found from `since` on, newest first."""
        with self._reading("read the history of the gate") as db:
            return looks.quality_runs(db, since) if db and transaction.exists(db, "ops", "quality") else []

    def candidate_url(self, candidate: str) -> str:
        """Where Great Expectations finds a candidate, as an SQLAlchemy URL."""
        return f"{SCHEME}{self._published.candidate(candidate)}"

    def marts(self) -> dict[str, int]:
        """Rows per mart, as readers see them now."""
        return self._published.rows()

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate, readers seeing old or new; returns rows per mart. Again: no change.

        Raises:
            MartsMoved: other marts were published since the candidate was begun.
        """
        return self._published.publish(candidate)

    def close(self) -> None:
        """Give back connections and locks: none is kept between calls."""

    @contextmanager
    def _writing(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with held(self._lock, purpose, self._timeout_s), self._connection(purpose, read_only=False) as db:
            yield db

    @contextmanager
    def _reading(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection | None]:
        if self._shared is not None:
            yield self._shared
            return
        with held(self._lock, purpose, self._timeout_s, shared=True):
            if not self._file.exists():
                yield None
                return
            with self._connection(purpose, read_only=True) as db:
                yield db

    @contextmanager
    def _connection(self, purpose: str, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        db = _connect(self._file, purpose, self._timeout_s, read_only=read_only)
        try:
            db.execute("SET TimeZone = 'UTC'")
            db.execute(f"SET memory_limit = '{self._memory_bytes // 1024} KiB'")
            db.execute("SET preserve_insertion_order = false")  # order costs a fifth of an insert, and memory
            db.execute(f"SET max_vacuum_tasks = {VACUUM_TASKS}")
            yield db
        finally:
            db.close()


def _connect(file: Path, purpose: str, timeout_s: float, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open a file, which a program that does not ask for our lock may have open: a shell, a notebook, dbt by hand."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return duckdb.connect(str(file), read_only=read_only)
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise WarehouseBusy(
                    f"{purpose}: waited {timeout_s:.0f} s for {file.name}, which another program has open: {error}."
                    " Close it there; read the marts in the file of the marts"
                ) from error
        time.sleep(POLL_S)


def _release_dbt() -> None:
    """Close what an in-process dbt leaves open: it would keep the file locked. Does nothing when dbt did not run."""
    import sys

    module = sys.modules.get("dbt.adapters.duckdb.connections")
    if module is not None:
        module.DuckDBConnectionManager.close_all_connections()
