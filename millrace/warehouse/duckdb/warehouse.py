"""The warehouse in DuckDB files: one that the merge writes, one candidate per model run, one that readers open.

While a process writes a DuckDB file, no other process can open it. So files are opened late and closed early, under a
lock that names its holder, and readers of the marts have a separate file, which a publication replaces as a whole.
"""

import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from millrace.contracts.erasure import Erasure
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, QuarantinedObject, Staged, StagingFormat
from millrace.domain.errors import ObjectMissing, WarehouseBusy
from millrace.domain.ledger import Head
from millrace.domain.quality import QualityFact, QualityRun
from millrace.domain.types import Column
from millrace.lake.store import Lake
from millrace.warehouse.duckdb import commit as transaction
from millrace.warehouse.duckdb import erase as erasing
from millrace.warehouse.duckdb import look as history
from millrace.warehouse.duckdb import model as model
from millrace.warehouse.duckdb import redrive as redrives
from millrace.warehouse.duckdb import schema as schema
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb.catalog import exists, number
from millrace.warehouse.duckdb.engine import SCHEME, file_of
from millrace.warehouse.duckdb.ledger_port import LedgerInDuckDB
from millrace.warehouse.duckdb.lock import POLL_S, hold
from millrace.warehouse.duckdb.marts import Marts
from millrace.warehouse.duckdb.query import query, reads_merged
from millrace.warehouse.duckdb.staging import download

MEMORY_BYTES = 1 << 30
KEEP_CANDIDATES_DAYS = 3.0
VACUUM_TASKS = 1  # of three row groups each; DuckDB's 100 would rewrite a table of ten million rows with every commit


class DuckDBWarehouse(LedgerInDuckDB):
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
        """Share one connection between the reads of a block, which must not write; no other process can write either.

        With a contract, prepare the tables of its stream first, as `ensure` does.

        Raises:
            ContractError: a column of the table has values that the contract's type can't hold.
            WarehouseBusy: another process writes.
        """
        with ExitStack() as stack:
            db = stack.enter_context(self._reading(purpose))
            if contract and not (db and schema.is_prepared(db, contract)):
                stack.close()
                self.ensure(contract)
                db = stack.enter_context(self._reading(purpose))
            self._shared = db
            try:
                yield
            finally:
                self._shared = None

    def ensure(self, contract: StreamContract) -> None:
        """Create the table, live view and head of a stream, and the ledger; add columns that the contract gained.

        Raises:
            ContractError: a column of the table has values that the contract's type can't hold.
        """
        with self._reading(f"read the schema of {contract.id}") as db:
            if db and schema.is_prepared(db, contract):
                return
        with self._writing(f"prepare {contract.id}") as db:
            schema.prepare(db, contract)

    def migrate(self, contract: StreamContract) -> dict[str, str]:
        """Change columns to types of the contract that `ensure` can't reach; return the changed ones."""
        with self._writing(f"migrate {contract.id}") as db:
            return schema.prepare(db, contract, migrating=True)

    def head(self, contract: StreamContract) -> Head:
        """Return the head of a stream; a fresh Head when nothing was merged."""
        with self._reading(f"read the head of {contract.id}") as db:
            if db is None or not exists(db, "ops", names.head_table(contract.source, contract.stream)):
                return Head()
            return transaction.head(db, contract)

    def evolved_columns(self, contract: StreamContract) -> dict[str, Column]:
        """Return columns from files that the contract lacks, or declares with a narrower type than the table has."""
        with self._reading(f"read the schema of {contract.id}") as db:
            return schema.evolved_columns(db, contract) if db else {}

    def missing_columns(self, contract: StreamContract) -> list[str] | None:
        """Return the columns of a contract that its table lacks; None when the stream has no tables yet."""
        with self._reading(f"read the schema of {contract.id}") as db:
            return schema.missing_columns(db, contract) if db else None

    def merged_objects(self, contract: StreamContract, objects: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return the (object, generation) pairs that are merged already."""
        pairs = list(objects)
        with self._reading(f"read the ledger of {contract.id}") as db:
            if db is None or not pairs or not exists(db, "ops", "redrives"):
                return set()
            return transaction.merged_objects(db, contract, pairs)

    def quarantined_objects(self, contract: StreamContract) -> list[QuarantinedObject]:
        """Return the quarantined objects of a stream that neither wait for a redrive nor were fixed since."""
        with self._reading(f"read the quarantine of {contract.id}") as db:
            if db is None or not exists(db, "ops", "redrives"):
                return []
            return redrives.quarantined_objects(db, contract).get(contract.id, [])

    def quarantine(self) -> dict[str, list[QuarantinedObject]]:
        """Return the `quarantined_objects` of each stream that has any, by `<source>.<stream>`."""
        with self._reading("read the quarantine") as db:
            return redrives.quarantined_objects(db) if db and exists(db, "ops", "redrives") else {}

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], *, run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more; return how many did not wait for it already."""
        self.ensure(contract)
        with self._writing(f"redrive {contract.id}") as db:
            return redrives.redrive(db, contract, objects, run_id, at)

    def redriven_manifests(self, contract: StreamContract) -> set[str]:
        """Return manifests of objects that wait to be merged once more, however old they are."""
        with self._reading(f"read the redrives of {contract.id}") as db:
            return redrives.redriven_manifests(db, contract) if db and exists(db, "ops", "redrives") else set()

    def commit(
        self, contract: StreamContract, batch: Batch, staged: Staged, lake: Lake, *, run_id: str, at: datetime
    ) -> Balance:
        """Merge a staged batch with head and ledger in one transaction; the same batch again returns its balance.

        Raises:
            HeadMoved: another batch was committed since this one was stack.
            BalanceError: the rows do not add up; nothing was committed.
        """
        with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
            try:
                files = {kind: download(lake, getattr(staged, kind), Path(folder)) for kind in transaction.KINDS}
            except ObjectMissing:
                if earlier := self.balance(batch):
                    return earlier  # the batch was closed, and its staging files were deleted
                raise
            with self._writing(f"commit {batch.id}") as db:
                if not schema.is_prepared(db, contract):
                    schema.prepare(db, contract)
                return transaction.commit(db, contract, batch, staged, files, run_id, at)

    def erase(self, contract: StreamContract, erasure: Erasure, *, at: datetime) -> int:
        """Empty the rows of keys permanently; return how many keys had a row. Again: no change, and 0."""
        self.ensure(contract)
        with self._writing(f"erase keys of {contract.id}") as db:
            return erasing.erase(db, contract, erasure, at)

    def balance(self, batch: Batch) -> Balance | None:
        """Return the balance of a committed batch, None when it was not committed."""
        with self._reading(f"read the balance of {batch.id}") as db:
            return transaction.balance(db, batch) if db and exists(db, "ops", "ledger") else None

    def query(self, sql: str, limit: int | None = None) -> pa.Table:
        """Run one SELECT on `marts.<mart>`, `raw_<source>.<stream>` and `ops.<table>`; return at most `limit` rows.

        Writers are locked out while it reads merged tables or the ledger.
        """
        with self.reader("a query") if reads_merged(sql) else nullcontext():
            return query(self._file, file_of(self.marts_url), sql, limit)

    def billed_bytes(self, since: datetime) -> dict[str, int] | None:
        """Return None: DuckDB bills nothing."""
        return None

    def count_doubled_keys(self, contract: StreamContract) -> int:
        """Return how many keys have two rows: any is an incident, as a merge updates only one of them."""
        schema_name = names.raw_schema(contract.source)
        with self._reading(f"count doubled keys of {contract.id}") as db:
            if db is None or not contract.key or not exists(db, schema_name, contract.stream):
                return 0
            return number(db, sql.count_doubled_keys(contract))

    @contextmanager
    def reader(self, purpose: str) -> Iterator[None]:
        """Lock out writers while other programs (dbt, Great Expectations) read the tables. Raises WarehouseBusy."""
        with hold(self._lock, purpose, self._timeout_s, shared=True):
            try:
                yield None
            finally:
                _release_dbt()

    def restore(self, candidate: str, tables: Collection[str], *, known: Collection[str] | None = None) -> None:
        """Make tables and views of a candidate what is published, or drop those that are not; again: no change."""
        self._published.restore(candidate, tables, known)

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and build into a candidate."""
        return self._published.dbt_environment(candidate)

    def published_environment(self, folder: Path) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and the published marts."""
        return self._published.published_environment(folder)

    def begin_candidate(self, candidate: str, *, empty: bool) -> None:
        """Create a candidate as a copy of the published marts, or empty; its former content is deleted."""
        self._published.begin_candidate(candidate, empty=empty)

    def touched_days(self, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
        """Return days of the partition column in which batches changed rows; None when a list can't express them."""
        with self._reading(f"read changed days of {contract.id}") as db:
            return model.touched_days(db, contract, batches) if db else None

    def merged_rows(self, contract: StreamContract, batches: Sequence[str] | None, as_of: datetime | None) -> str:
        """Return SQL of the live rows that batches (None: all) wrote and that are still the newest of their keys."""
        return model.merged_rows(contract, batches)

    def raw_url(self) -> str:
        """Return the URL under which the quality gate opens the merged tables."""
        return f"{SCHEME}{self._file}"

    def record_quality(self, facts: Sequence[QualityFact]) -> None:
        """Store results of the gate, all or none."""
        with self._writing("store results of the gate") as db:
            model.record(db, facts)

    def newest_quality(self) -> list[QualityFact]:
        """Return the newest results of every suite."""
        with self._reading("read results of the gate") as db:
            return model.newest(db) if db and exists(db, "ops", "quality") else []

    def quality_runs(self, since: datetime) -> list[QualityRun]:
        """Return a summary of each run of the gate from `since` on, newest first."""
        with self._reading("read the history of the gate") as db:
            return history.quality_runs(db, since) if db and exists(db, "ops", "quality") else []

    def candidate_url(self, candidate: str) -> str:
        """Return the URL under which the quality gate opens a candidate."""
        return f"{SCHEME}{self._published.candidate(candidate)}"

    def marts(self) -> dict[str, int]:
        """Return rows per mart, as readers see them now."""
        return self._published.rows()

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate and return rows per mart; readers see old or new. Again: no change.

        Raises:
            CandidateMissing: the candidate does not exist, and is not the published one.
            MartsMissing: the candidate has no marts.
            MartsMoved: other marts were published since the candidate was begun.
        """
        return self._published.publish(candidate)

    def close(self) -> None:
        """Do nothing: no connection or lock is held between calls."""

    @contextmanager
    def _writing(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with hold(self._lock, purpose, self._timeout_s), self._connection(purpose, read_only=False) as db:
            yield db

    @contextmanager
    def _reading(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection | None]:
        if self._shared is not None:
            yield self._shared
            return
        with hold(self._lock, purpose, self._timeout_s, shared=True):
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
    """Open a file; wait for programs that have it open without our lock, such as a shell, a notebook or dbt."""
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
                    " Close it in that program; to read marts, open the file of the marts instead"
                ) from error
        time.sleep(POLL_S)


def _release_dbt() -> None:
    """Close connections that an in-process dbt left open, which would keep the file locked."""
    import sys

    module = sys.modules.get("dbt.adapters.duckdb.connections")
    if module is not None:
        module.DuckDBConnectionManager.close_all_connections()
