"""The warehouse in BigQuery: merged tables and ledger in datasets of one project, marts in another dataset of it.

There are no locks: a stream's head table serialises its commits, everything else is INSERT-only or idempotent.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

import pyarrow as pa

from millrace.contracts.erasure import Erasure
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, QuarantinedObject, Staged, StagingFormat
from millrace.domain.ledger import NEVER, Head, LedgerEntry, MergedSync
from millrace.domain.model import Publication
from millrace.domain.quality import QualityFact, QualityRun
from millrace.domain.types import Column
from millrace.lake.store import Lake
from millrace.warehouse import heads
from millrace.warehouse.bigquery import erase as erasing
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery.candidates import Candidates
from millrace.warehouse.bigquery.commit import Commit
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.ledger import Ledger
from millrace.warehouse.bigquery.ledger_layout import LedgerLayout
from millrace.warehouse.bigquery.look import History
from millrace.warehouse.bigquery.marts import Marts, dataset_of
from millrace.warehouse.bigquery.model import ModelQueries
from millrace.warehouse.bigquery.query import query
from millrace.warehouse.bigquery.schema import Schema
from millrace.warehouse.bigquery.sql import Namespace


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
        keep_journal_days: float = 90.0,
    ) -> None:
        self.url, self.marts_url = url, marts_url
        self._jobs = Jobs(Namespace.of(url), endpoint, max_bytes_billed, retry_s)
        self._schema, self._ledger = Schema(self._jobs), Ledger(self._jobs)
        self._facts, self._ledger_layout = self._ledger.facts, LedgerLayout(self._jobs)
        self._marts = Marts(self._jobs, marts_url, endpoint, max_bytes_billed, keep_candidates_days)
        self._candidates = Candidates(self._jobs, keep_candidates_days, keep_journal_days)
        self._model, self._history = ModelQueries(self._jobs), History(self._jobs)

    def session(self, purpose: str, contract: StreamContract | None = None) -> AbstractContextManager[None]:
        """Call `ensure` with a contract, else do nothing: the client shares its connections anyway."""
        if contract:
            self.ensure(contract)
        return nullcontext()

    def ensure(self, contract: StreamContract) -> None:
        """Create the table, live view and head of a stream, and the ledger; add columns that the contract gained.

        Raises:
            ContractError: a column of the table has values that the contract's type can't hold.
        """
        with self._jobs.translate_errors(f"prepare {contract.id}"):
            self._ledger_layout.ensure()
            self._schema.ensure(contract)

    def migrate(self, contract: StreamContract) -> dict[str, str]:
        """Change columns to types of the contract that `ensure` can't reach; return the changed ones.

        Where `ALTER` can't change a type, the whole table is read and written once.
        """
        if not self._is_prepared(contract):
            return {}
        before = self._ledger.head(contract)
        with self._jobs.translate_errors(f"migrate {contract.id}"):
            return self._schema.migrate(
                contract, lambda: heads.check_unmoved(contract, before, self._ledger.head(contract))
            )

    def head(self, contract: StreamContract) -> Head:
        """Return the head of a stream; a fresh Head when nothing was merged."""
        return self._ledger.head(contract) if self._is_prepared(contract) else Head()

    def evolved_columns(self, contract: StreamContract) -> dict[str, Column]:
        """Return columns from files that the contract lacks, or declares with a narrower type than the table has."""
        with self._jobs.translate_errors(f"read the schema of {contract.id}"):
            return self._schema.evolved_columns(contract)

    def missing_columns(self, contract: StreamContract) -> list[str] | None:
        """Return the columns of a contract that its table lacks; None when the stream has no tables yet."""
        with self._jobs.translate_errors(f"read the schema of {contract.id}"):
            return self._schema.missing_columns(contract)

    def merged_objects(self, contract: StreamContract, objects: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return the (object, generation) pairs that are merged already."""
        pairs = list(objects)
        return self._ledger.merged_objects(contract, pairs) if pairs and self._ledger.exists() else set()

    def quarantined_objects(self, contract: StreamContract) -> list[QuarantinedObject]:
        """Return the quarantined objects of a stream that neither wait for a redrive nor were fixed since."""
        return self._ledger.quarantined_objects(contract).get(contract.id, []) if self._ledger.exists() else []

    def quarantine(self) -> dict[str, list[QuarantinedObject]]:
        """Return the `quarantined_objects` of each stream that has any, by `<source>.<stream>`."""
        return self._ledger.quarantined_objects() if self._ledger.exists() else {}

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], *, run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more; return how many did not wait for it already."""
        self.ensure(contract)
        return self._ledger.redrive(contract, objects, run_id, at)

    def redriven_manifests(self, contract: StreamContract) -> set[str]:
        """Return manifests of objects that wait to be merged once more, however old they are."""
        return self._ledger.redriven_manifests(contract) if self._ledger.exists() else set()

    def commit(
        self, contract: StreamContract, batch: Batch, staged: Staged, lake: Lake, *, run_id: str, at: datetime
    ) -> Balance:
        """Merge a staged batch with head and ledger in one transaction; the same batch again returns its balance.

        Raises:
            HeadMoved: another batch was committed since this one was opened.
            BalanceError: the rows do not add up; nothing was committed.
            BudgetExceeded: the commit would read too many bytes; the batch stays pending.
        """
        self.ensure(contract)
        commit = Commit(self._jobs, contract, batch, staged, lake, run_id, at)
        balance = commit.run()
        commit.drop_staging()
        return balance

    def erase(self, contract: StreamContract, erasure: Erasure, *, at: datetime) -> int:
        """Empty the rows of keys permanently; return how many keys had a row. Again: no change, and 0."""
        self.ensure(contract)
        whole = contract.with_columns(self.evolved_columns(contract))  # files may have added columns
        return erasing.erase(self._jobs, whole, erasure, at)

    def balance(self, batch: Batch) -> Balance | None:
        """Return the balance of a committed batch, None when it was not committed."""
        return self._ledger.balance(batch) if self._ledger.exists() else None

    def append(self, *entries: LedgerEntry) -> None:
        """Append facts, all or none; the same kind, batch and run again within a day changes nothing."""
        if not self._ledger.exists():
            self._schema.create_ops()
        self._facts.append(entries)

    def ledger(self, since: datetime, kinds: Sequence[str] = (), until: datetime = NEVER) -> list[LedgerEntry]:
        """Return facts from `since` on and before `until`, in the order of their writing."""
        return self._facts.entries(since, kinds, until) if self._ledger.exists() else []

    def unpublished(self, as_of: datetime | None = None) -> list[LedgerEntry]:
        """Return the merges and erasures that no marts include, as of an instant, in the order of their writing."""
        return self._facts.unpublished(as_of) if self._ledger.exists() else []

    def unannounced(self) -> list[LedgerEntry]:
        """Return the merges and erasures that were not announced, in the order of their writing."""
        return self._facts.unannounced() if self._ledger.exists() else []

    def unannounced_publication(self) -> Publication | None:
        """Return the newest publication unless it was announced; older ones are not announced any more."""
        return self._facts.unannounced_publication() if self._ledger.exists() else None

    def newest_model(self) -> LedgerEntry | None:
        """Return the `modelled` fact of the newest publication."""
        return self._facts.newest_model() if self._ledger.exists() else None

    def changed_streams(self) -> list[str]:
        """Return the streams of which rows were ever merged or erased, as `<source>.<stream>`."""
        return self._facts.changed_streams() if self._ledger.exists() else []

    def newest_merges(self, since: datetime) -> dict[str, datetime]:
        """Return the time of the newest merge of each stream that was merged from `since` on."""
        return self._facts.newest_merges(since) if self._ledger.exists() else {}

    def count_merges(self, contract: StreamContract, since: datetime) -> int:
        """Return the number of merges of a stream from `since` on."""
        return self._facts.count_merges(contract, since) if self._ledger.exists() else 0

    def erased(self, contract: StreamContract) -> set[str]:
        """Return the ids of a stream's erasures that were executed."""
        return set(self._ledger.erased(contract)) if self._ledger.exists() else set()

    def settle(self, before: datetime) -> None:
        """Store the instant before which every merge is published and announced, if it moved by a day or more."""
        if self._ledger.exists():
            self._facts.settle(before)

    def merged_syncs(self, since: datetime) -> dict[str, list[MergedSync]]:
        """Return the syncs of each batch that was merged from `since` on."""
        return self._history.merged_syncs(since) if self._ledger.exists() else {}

    def query(self, sql: str, limit: int | None = None) -> pa.Table:
        """Run one SELECT on `marts.<mart>`, `raw_<source>.<stream>` and `ops.<table>`; return at most `limit` rows."""
        return query(self._jobs, dataset_of(self.marts_url, self._jobs.namespace), sql, limit)

    def billed_bytes(self, since: datetime) -> dict[str, int] | None:
        """Return billed bytes by stream, from the labels of the project's jobs; None when there are too many jobs."""
        return self._history.billed_bytes(since) if self._ledger.exists() else {}

    def count_doubled_keys(self, contract: StreamContract) -> int:
        """Return how many keys have two rows: any is an incident, as a merge updates only one of them."""
        if not contract.key or not self._is_prepared(contract):
            return 0
        ((count,),) = self._jobs.rows(
            merging.count_doubled_keys(self._jobs.namespace, contract), step="audit", contract=contract
        )
        return int(count)

    def reader(self, purpose: str) -> AbstractContextManager[datetime | None]:
        """Yield an instant as of which several queries read the same state, although writers go on."""
        return nullcontext(self._model.instant())

    def touched_days(self, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
        """Return days of the partition column in which batches changed rows; None when a list can't express them."""
        return self._model.touched_days(contract, batches)

    def merged_rows(self, contract: StreamContract, batches: Sequence[str] | None, as_of: datetime | None) -> str:
        """Return SQL of the live rows that batches (None: all) wrote and that are still the newest of their keys."""
        return self._model.merged_rows(contract, batches, as_of)

    def raw_url(self) -> str:
        """Return the URL under which the quality gate opens the merged tables."""
        return self._gate_url(self._marts.url("ops"))  # its queries qualify their tables

    def record_quality(self, facts: Sequence[QualityFact]) -> None:
        """Store results of the gate, all or none."""
        self._model.record(facts)

    def newest_quality(self) -> list[QualityFact]:
        """Return the newest results of every suite."""
        return self._model.newest()

    def quality_runs(self, since: datetime) -> list[QualityRun]:
        """Return a summary of each run of the gate from `since` on, newest first."""
        return self._history.quality_runs(since)

    def begin_candidate(self, candidate: str, *, empty: bool) -> None:
        """Create a candidate as a copy of the published marts, or empty; its former content is deleted."""
        self._marts.begin_candidate(candidate, empty=empty)

    def restore(self, candidate: str, tables: Collection[str], *, known: Collection[str] | None = None) -> None:
        """Make tables and views of a candidate what is published, or drop those that are not; again: no change."""
        self._marts.restore(candidate, tables, known)

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and build into a candidate."""
        return self._marts.dbt_environment(candidate)

    def published_environment(self, folder: Path) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and the published marts."""
        return self._marts.published_environment(folder)

    def candidate_url(self, candidate: str) -> str:
        """Return the URL under which the quality gate opens a candidate."""
        return self._gate_url(self._marts.candidate_url(candidate))

    def marts(self) -> dict[str, int]:
        """Return rows per mart, as readers see them now."""
        return self._marts.rows()

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate, table by table; return rows per mart. Again: resumes, or no change.

        Datasets of candidates that ended are deleted, and old rows of the journal of publications.

        Raises:
            CandidateMissing: the candidate does not exist, and is not the published one.
            MartsMoved: other marts were published since the candidate was begun.
        """
        marts = self._marts.publish(candidate)
        self._candidates.drop_ended()
        return marts

    def close(self) -> None:
        """Close connections."""
        self._jobs.close()

    def _gate_url(self, url: str) -> str:
        """Add to a URL what bounds the gate's queries: the location, and the most bytes that one may bill."""
        bounds = {"location": self._jobs.namespace.location, "maximum_bytes_billed": self._jobs.max_bytes_billed}
        return f"{url}{'&' if '?' in url else '?'}{urlencode(bounds)}"

    def _is_prepared(self, contract: StreamContract) -> bool:
        with self._jobs.translate_errors(f"read the schema of {contract.id}"):
            return bool(self._schema.stored(contract))
