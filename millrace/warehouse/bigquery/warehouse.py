"""The warehouse in BigQuery: merged tables and ledger in datasets of one project, marts in another dataset of it.

Nothing is locked: a stream's commits are serialised by its head table, everything else is INSERT-only or idempotent.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from millrace.contracts.erasure import Erasure
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, RefusedObject, Staged, StagingFormat
from millrace.domain.ledger import Head, LedgerEntry, MergedSync
from millrace.domain.quality import QualityFact, QualityRun
from millrace.domain.types import Column
from millrace.lake.store import Lake
from millrace.warehouse import heads
from millrace.warehouse.bigquery import erase as erasing
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery.commit import Commit
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.ledger import Ledger
from millrace.warehouse.bigquery.look import Look
from millrace.warehouse.bigquery.marts import Marts
from millrace.warehouse.bigquery.model import Modelling
from millrace.warehouse.bigquery.schema import Schema
from millrace.warehouse.bigquery.sql import Place


class BigQueryWarehouse:
    """Datasets `raw_<source>`, `staging`, `ops` and the marts' at `bigquery://<project>/<location>[/<prefix>]`."""

    staging: StagingFormat = "parquet"

    def __init__(
        self,
        url: str,
        marts_url: str,
        *,
        endpoint: str = "",
        max_bytes_billed: int = 0,
        retry_s: float = 600.0,
        keep_candidates_days: float = 3.0,
    ) -> None:
        self.url, self.marts_url = url, marts_url
        self._jobs = Jobs(Place.of(url), endpoint, max_bytes_billed, retry_s)
        self._schema, self._ledger = Schema(self._jobs), Ledger(self._jobs)
        self._marts = Marts(self._jobs, marts_url, endpoint, max_bytes_billed, keep_candidates_days)
        self._model, self._look = Modelling(self._jobs), Look(self._jobs)

    def session(self, purpose: str, contract: StreamContract | None = None) -> AbstractContextManager[None]:
        """No more than `ensure` where a contract is given: a client keeps its connections anyway."""
        if contract:
            self.ensure(contract)
        return nullcontext()

    def ensure(self, contract: StreamContract) -> None:
        """Create what a stream needs (table, live view, head) and the ledger; add what the contract gained.

        Raises:
            ContractError: the table has a column of a type that the contract's can't hold.
        """
        with self._jobs.answering(f"prepare {contract.id}"):
            self._schema.ensure(contract)

    def migrate(self, contract: StreamContract) -> dict[str, str]:
        """Give a stream's columns the types of its contract that `ensure` can't; returns those that changed.

        What `ALTER` can't change is copied: the whole table is read and written once.
        """
        if not self._known(contract):
            return {}
        seen = self._ledger.head(contract)
        with self._jobs.answering(f"migrate {contract.id}"):
            return self._schema.migrate(
                contract, lambda: heads.refuse_moved(contract, seen, self._ledger.head(contract))
            )

    def head(self, contract: StreamContract) -> Head:
        """How far a stream is; a fresh Head when nothing was merged."""
        return self._ledger.head(contract) if self._known(contract) else Head()

    def learned(self, contract: StreamContract) -> dict[str, Column]:
        """Columns that the table has and the contract lacks, or has with a narrower type: files brought them."""
        with self._jobs.answering(f"look at {contract.id}"):
            return self._schema.learned(contract)

    def merged_objects(self, contract: StreamContract, objects: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of the (object, generation) pairs that the ledger has."""
        asked = list(objects)
        return self._ledger.merged_objects(contract, asked) if asked and self._ledger.exists() else set()

    def refused(self, contract: StreamContract) -> list[RefusedObject]:
        """Objects in quarantine that neither wait to be merged again nor were mended since."""
        return self._ledger.refused(contract).get(contract.id, []) if self._ledger.exists() else []

    def quarantine(self) -> dict[str, list[RefusedObject]]:
        """What `refused` gives for each stream that has any, by `<source>.<stream>`."""
        return self._ledger.refused() if self._ledger.exists() else {}

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], *, run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more; returns how many did not wait yet."""
        self.ensure(contract)
        return self._ledger.redrive(contract, objects, run_id, at)

    def redriven(self, contract: StreamContract) -> set[str]:
        """Manifests of objects that wait to be merged once more, however old they are."""
        return self._ledger.redriven(contract) if self._ledger.exists() else set()

    def commit(
        self, contract: StreamContract, batch: Batch, staged: Staged, lake: Lake, *, run_id: str, at: datetime
    ) -> Balance:
        """Merge a staged batch with head and ledger in one transaction; the same batch again gives the same balance.

        Raises:
            HeadMoved: another batch was committed since this one was opened.
            BalanceError: the rows do not add up; nothing was committed.
            BudgetExceeded: it would read more bytes than it may; the batch stays pending.
        """
        self.ensure(contract)
        commit = Commit(self._jobs, contract, batch, staged, lake, run_id, at)
        made = commit.run()
        commit.drop_staging()
        return made

    def erase(self, contract: StreamContract, erasure: Erasure, *, at: datetime) -> int:
        """Empty the rows of keys for ever; returns how many keys had a row. Again: no change, and 0."""
        self.ensure(contract)
        whole = contract.with_columns(self.learned(contract))  # what files brought beyond the contract goes too
        return erasing.erase(self._jobs, whole, erasure, at)

    def balance(self, batch_id: str) -> Balance | None:
        """The balance of a committed batch, None when it was not committed."""
        return self._ledger.balance(batch_id) if self._ledger.exists() else None

    def append(self, *entries: LedgerEntry) -> None:
        """Add facts to the ledger, all or none; the same kind, batch and run again changes nothing."""
        if not self._ledger.exists():
            self._schema.make_ops()
        self._ledger.append(entries)

    def ledger(
        self, since: datetime | None = None, kinds: Sequence[str] = (), as_of: datetime | None = None
    ) -> list[LedgerEntry]:
        """Facts in the order they were written, from `since` on, `as_of` an instant."""
        return self._ledger.entries(since, kinds, as_of) if self._ledger.exists() else []

    def merged_syncs(self, since: datetime) -> dict[str, list[MergedSync]]:
        """By batch that was merged from `since` on: of which syncs its files are."""
        return self._look.merged_syncs(since) if self._ledger.exists() else {}

    def billed_bytes(self, since: datetime) -> dict[str, int] | None:
        """Bytes billed by stream, by the labels of the project's jobs; None when there are too many to add up."""
        return self._look.billed_bytes(since)

    def audit(self, contract: StreamContract) -> int:
        """How many keys have two rows: any is an incident, as a merge finds only one of them."""
        if not contract.key or not self._known(contract):
            return 0
        ((found,),) = self._jobs.rows(merging.audit(self._jobs.place, contract), step="audit", contract=contract)
        return int(found)

    def reader(self, purpose: str) -> AbstractContextManager[datetime | None]:
        """An instant as of which several queries read one state, whoever writes meanwhile."""
        return nullcontext(self._model.instant())

    def touched_days(self, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
        """Days of the partition column in which batches changed rows; None when no list of days tells it."""
        return self._model.touched_days(contract, batches)

    def merged_rows(self, contract: StreamContract, batches: Sequence[str], as_of: datetime | None) -> str:
        """SQL of the live rows that batches wrote and that are still the newest of their keys."""
        return self._model.merged_rows(contract, batches, as_of)

    def raw_url(self) -> str:
        """Where Great Expectations finds the merged tables, as an SQLAlchemy URL."""
        return self._marts.url("ops")  # its queries name their tables whole

    def record_quality(self, facts: Sequence[QualityFact]) -> None:
        """Keep results of the gate, all or none."""
        self._model.record(facts)

    def newest_quality(self) -> list[QualityFact]:
        """The newest results of every suite."""
        return self._model.newest()

    def quality_runs(self, since: datetime) -> list[QualityRun]:
        """What each run of the gate found from `since` on, newest first."""
        return self._look.quality_runs(since)

    def begin(self, candidate: str, *, empty: bool) -> None:
        """Make a candidate that holds what is published now, or nothing; what it held before is gone."""
        self._marts.begin(candidate, empty=empty)

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Variables that make dbt read this warehouse and build into a candidate."""
        return self._marts.dbt_environment(candidate)

    def candidate_url(self, candidate: str) -> str:
        """Where Great Expectations finds a candidate, as an SQLAlchemy URL."""
        return self._marts.candidate_url(candidate)

    def marts(self) -> dict[str, int]:
        """Rows per mart, as readers see them now."""
        return self._marts.rows()

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate, each at once; returns rows per mart. Again: goes on, or no change.

        Raises:
            MartsMoved: other marts were published since the candidate was begun.
        """
        return self._marts.publish(candidate)

    def close(self) -> None:
        """Give back connections."""
        self._jobs.close()

    def _known(self, contract: StreamContract) -> bool:
        with self._jobs.answering(f"look at {contract.id}"):
            return bool(self._schema.stored(contract))
