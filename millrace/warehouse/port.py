"""The port: what the platform asks of a warehouse, and the function that opens one by URL."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from millrace.contracts.erasure import Erasure
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, RefusedObject, Staged, StagingFormat
from millrace.domain.errors import SettingsError
from millrace.domain.ledger import Head, LedgerEntry, MergedSync
from millrace.domain.quality import QualityFact, QualityRun
from millrace.domain.types import Column
from millrace.lake.store import Lake


class Warehouse(Protocol):
    """Merged tables with their ledger; each method leaves the warehouse whole, whenever it is killed."""

    url: str
    marts_url: str
    staging: StagingFormat

    def session(self, purpose: str, contract: StreamContract | None = None) -> AbstractContextManager[None]:
        """Make a block's reads cheaper where opening a connection costs; nothing may be written in it.

        Where a contract is given, what its stream needs is there, as `ensure` makes it.
        """
        ...

    def ensure(self, contract: StreamContract) -> None:
        """Create what a stream needs (table, live view, head) and the ledger; add columns the contract gained."""
        ...

    def migrate(self, contract: StreamContract) -> dict[str, str]:
        """Give a stream's columns the types of its contract that `ensure` can't, while no merge of it runs.

        A date becomes a timestamp, anything becomes text. Returns the changed columns with their types; again: none.

        Raises:
            ContractError: a column can't become what the contract says.
            HeadMoved: a merge was committed meanwhile; nothing was changed.
        """
        ...

    def head(self, contract: StreamContract) -> Head:
        """How far a stream is; a fresh Head when nothing was merged."""
        ...

    def learned(self, contract: StreamContract) -> dict[str, Column]:
        """Columns that the table has and the contract lacks, or has with a narrower type: files brought them."""
        ...

    def merged_objects(self, contract: StreamContract, objects: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of the (object, generation) pairs that the ledger has."""
        ...

    def refused(self, contract: StreamContract) -> list[RefusedObject]:
        """Objects in quarantine that neither wait to be merged again nor were mended since."""
        ...

    def quarantine(self) -> dict[str, list[RefusedObject]]:
        """What `refused` gives for each stream that has any, by `<source>.<stream>`."""
        ...

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], *, run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more; returns how many did not wait yet."""
        ...

    def redriven(self, contract: StreamContract) -> set[str]:
        """Manifests of objects that wait to be merged once more, however old they are."""
        ...

    def commit(
        self, contract: StreamContract, batch: Batch, staged: Staged, lake: Lake, *, run_id: str, at: datetime
    ) -> Balance:
        """Merge a staged batch with head and ledger in one transaction; the same batch again gives the same balance.

        Raises:
            HeadMoved: another batch was committed since this one was opened.
            BalanceError: the rows do not add up; nothing was committed.
        """
        ...

    def erase(self, contract: StreamContract, erasure: Erasure, *, at: datetime) -> int:
        """Empty the rows of keys for ever, in one transaction with the ledger; returns how many keys had a row.

        Whatever comes of these keys later is stale. Again, or another process at the same time: no change, and 0.
        """
        ...

    def balance(self, batch_id: str) -> Balance | None:
        """The balance of a committed batch, None when it was not committed."""
        ...

    def append(self, *entries: LedgerEntry) -> None:
        """Add facts to the ledger, all or none; the same kind, batch and run again changes nothing."""
        ...

    def ledger(
        self, since: datetime | None = None, kinds: Sequence[str] = (), as_of: datetime | None = None
    ) -> list[LedgerEntry]:
        """Facts in the order they were written, from `since` on; `as_of` an instant that `reader` gave, if any."""
        ...

    def merged_syncs(self, since: datetime) -> dict[str, list[MergedSync]]:
        """By batch that was merged from `since` on: of which syncs its files are."""
        ...

    def billed_bytes(self, since: datetime) -> dict[str, int] | None:
        """Bytes that the engine bills for each stream (`<source>.<stream>`) from `since` on; None: it does not tell."""
        ...

    def reader(self, purpose: str) -> AbstractContextManager[datetime | None]:
        """Let other programs (dbt, Great Expectations) read the tables as they are at one moment.

        Gives the instant as of which to read them, or None when writers are held off instead. Raises WarehouseBusy.
        """
        ...

    def touched_days(self, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
        """Days of the partition column in which batches changed rows; None when no list of days tells it."""
        ...

    def merged_rows(self, contract: StreamContract, batches: Sequence[str], as_of: datetime | None) -> str:
        """SQL of the live rows that batches wrote and that are still the newest of their keys."""
        ...

    def raw_url(self) -> str:
        """Where Great Expectations finds the merged tables, as an SQLAlchemy URL."""
        ...

    def record_quality(self, facts: Sequence[QualityFact]) -> None:
        """Keep results of the gate, all or none."""
        ...

    def newest_quality(self) -> list[QualityFact]:
        """The newest results of every suite."""
        ...

    def quality_runs(self, since: datetime) -> list[QualityRun]:
        """What each run of the gate found from `since` on, newest first."""
        ...

    def begin(self, candidate: str, *, empty: bool) -> None:
        """Make a candidate that holds what is published now, or nothing; what it held before is gone."""
        ...

    def audit(self, contract: StreamContract) -> int:
        """How many keys have two rows: any is an incident, as a merge finds only one of them."""
        ...

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Variables that make dbt read this warehouse and build into a candidate."""
        ...

    def candidate_url(self, candidate: str) -> str:
        """Where Great Expectations finds a candidate, as an SQLAlchemy URL."""
        ...

    def marts(self) -> dict[str, int]:
        """Rows per mart, as readers see them now."""
        ...

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate, readers seeing old or new; returns rows per mart. Again: no change.

        Raises:
            MartsMoved: other marts were published since the candidate was begun.
        """
        ...

    def close(self) -> None:
        """Give back connections and locks."""
        ...


def open_warehouse(
    url: str,
    marts_url: str,
    lock_timeout_s: float = 120.0,
    keep_candidates_days: float = 3.0,
    *,
    endpoint: str = "",
    max_bytes_billed: int = 0,
    retry_s: float = 600.0,
) -> Warehouse:
    """Open the warehouse at `duckdb:///<file>` or `bigquery://<project>/<location>[/<prefix of its datasets>]`.

    Args:
        url: where merged tables and ledger are.
        marts_url: where the published marts are, `duckdb:///<file>` or `bigquery://<project>/<dataset>`.
        lock_timeout_s: how long to wait for another process that holds a DuckDB file.
        keep_candidates_days: how long candidates that did not pass are kept.
        endpoint: address of a server other than Google's that speaks BigQuery's protocol.
        max_bytes_billed: most bytes that one commit or query may read on BigQuery; 0: no bound.
        retry_s: how long BigQuery is asked again while it does not answer.

    Raises:
        SettingsError: the URL's scheme is not known.
    """
    if url.startswith("duckdb:///"):
        from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse

        return DuckDBWarehouse(url, marts_url, lock_timeout_s, keep_candidates_days=keep_candidates_days)
    if url.startswith("bigquery://"):
        from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse

        return BigQueryWarehouse(
            url,
            marts_url,
            endpoint=endpoint,
            max_bytes_billed=max_bytes_billed,
            keep_candidates_days=keep_candidates_days,
            retry_s=retry_s,
        )
    raise SettingsError(f"warehouse.url is {url!r}; expected duckdb:///<file> or bigquery://<project>/<location>")
