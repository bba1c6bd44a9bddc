"""The port: one protocol for each use of a warehouse, and `Warehouse`, which is all of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from millrace.contracts.erasure import Erasure
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, QuarantinedObject, Staged, StagingFormat
from millrace.domain.ledger import NEVER, Head, LedgerEntry, MergedSync
from millrace.domain.model import Publication
from millrace.domain.quality import QualityFact, QualityRun
from millrace.domain.types import Column
from millrace.lake.store import Lake
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.reader import Read


class Connection(Protocol):
    """Addresses of a warehouse, and the life of its connections."""

    url: str
    marts_url: str

    def session(self, purpose: str, contract: StreamContract | None = None) -> AbstractContextManager[None]:
        """Share one connection between the reads of a block, which must not write.

        With a contract, prepare the tables of its stream first, as `ensure` does.
        """
        ...

    def reader(self, purpose: str) -> AbstractContextManager[datetime | None]:
        """Let other programs (dbt, Great Expectations) read a consistent state of the tables.

        Yields the instant as of which to read, or None when writers are locked out instead. Raises WarehouseBusy.
        """
        ...

    def close(self) -> None:
        """Release connections and locks."""
        ...


class MergeStore(Protocol):
    """The tables that a merge writes: one per stream, each with a head that serialises its commits."""

    staging: StagingFormat

    def ensure(self, contract: StreamContract) -> None:
        """Create the table, live view and head of a stream, and the ledger; add columns that the contract gained."""
        ...

    def migrate(self, contract: StreamContract) -> dict[str, str]:
        """Change columns to types of the contract that `ensure` can't reach, while no merge of the stream runs.

        A date becomes a timestamp, any type becomes text. Returns the changed columns with their types; a second call
        returns none.

        Raises:
            ContractError: a column can't have the contract's type.
            HeadMoved: a merge was committed meanwhile; nothing was changed.
        """
        ...

    def head(self, contract: StreamContract) -> Head:
        """Return the head of a stream; a fresh Head when nothing was merged."""
        ...

    def evolved_columns(self, contract: StreamContract) -> dict[str, Column]:
        """Return columns from files that the contract lacks, or declares with a narrower type than the table has."""
        ...

    def missing_columns(self, contract: StreamContract) -> list[str] | None:
        """Return the columns of a contract that its table lacks; None when the stream has no tables yet."""
        ...

    def merged_objects(self, contract: StreamContract, objects: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return the (object, generation) pairs that are merged already."""
        ...

    def commit(
        self, contract: StreamContract, batch: Batch, staged: Staged, lake: Lake, *, run_id: str, at: datetime
    ) -> Balance:
        """Merge a staged batch with head and ledger in one transaction; the same batch again returns its balance.

        Raises:
            HeadMoved: another batch was committed since this one was opened.
            BalanceError: the rows do not add up; nothing was committed.
        """
        ...

    def balance(self, batch: Batch) -> Balance | None:
        """Return the balance of a committed batch, None when it was not committed."""
        ...

    def erase(self, contract: StreamContract, erasure: Erasure, *, at: datetime) -> int:
        """Empty the rows of keys permanently, in one transaction with the ledger; return how many keys had a row.

        Later rows of these keys are stale. The same erasure again, or by another process at the same time, changes
        nothing and returns 0.
        """
        ...

    def count_doubled_keys(self, contract: StreamContract) -> int:
        """Return how many keys have two rows: any is an incident, as a merge updates only one of them."""
        ...


class Quarantine(Protocol):
    """Quarantined objects, and the second chance that a redrive gives them."""

    def quarantined_objects(self, contract: StreamContract) -> list[QuarantinedObject]:
        """Return the quarantined objects of a stream that neither wait for a redrive nor were fixed since."""
        ...

    def quarantine(self) -> dict[str, list[QuarantinedObject]]:
        """Return the `quarantined_objects` of each stream that has any, by `<source>.<stream>`."""
        ...

    def redrive(
        self, contract: StreamContract, objects: Sequence[tuple[str, str, int]], *, run_id: str, at: datetime
    ) -> int:
        """Let (manifest, object, generation) be merged once more; return how many did not wait for it already."""
        ...

    def redriven_manifests(self, contract: StreamContract) -> set[str]:
        """Return manifests of objects that wait to be merged once more, however old they are."""
        ...


class Ledger(Protocol):
    """The append-only history of merges, models and erasures; every search of it has a bound."""

    def append(self, *entries: LedgerEntry) -> None:
        """Append facts, all or none; the same kind, batch and run again within a day changes nothing.

        On BigQuery, more than 5,000 are appended in parts, in their order.
        """
        ...

    def ledger(self, since: datetime, kinds: Sequence[str] = (), until: datetime = NEVER) -> list[LedgerEntry]:
        """Return facts from `since` on and before `until`, in the order of their writing."""
        ...

    def unpublished(self, as_of: datetime | None = None) -> list[LedgerEntry]:
        """Return the merges and erasures that no marts include, in the order of their writing.

        `as_of` is an instant that `reader` yielded.
        """
        ...

    def unannounced(self) -> list[LedgerEntry]:
        """Return the merges and erasures that were not announced, in the order of their writing."""
        ...

    def unannounced_publication(self) -> Publication | None:
        """Return the newest publication unless it was announced; older ones are not announced any more."""
        ...

    def newest_model(self) -> LedgerEntry | None:
        """Return the `modelled` fact of the newest publication."""
        ...

    def changed_streams(self) -> list[str]:
        """Return the streams of which rows were ever merged or erased, as `<source>.<stream>`."""
        ...

    def newest_merges(self, since: datetime) -> dict[str, datetime]:
        """Return the time of the newest merge of each stream that was merged from `since` on."""
        ...

    def count_merges(self, contract: StreamContract, since: datetime) -> int:
        """Return the number of merges of a stream from `since` on."""
        ...

    def erased(self, contract: StreamContract) -> set[str]:
        """Return the ids of a stream's erasures that were executed."""
        ...

    def settle(self, before: datetime) -> None:
        """Store the instant before which every merge is published and announced, if it moved by a day or more.

        Searches for open merges begin there. The newest call counts, also one with an earlier instant.
        """
        ...

    def merged_syncs(self, since: datetime) -> dict[str, list[MergedSync]]:
        """Return the syncs of each batch that was merged from `since` on."""
        ...

    def query(self, sql: str, limit: int | None = None) -> pa.Table:
        """Run one SELECT on `marts.<mart>`, `raw_<source>.<stream>` and `ops.<table>`; return at most `limit` rows.

        It reads a consistent state of the merged tables and of the ledger.

        Raises:
            SettingsError: the warehouse does not exist yet.
            WarehouseBusy: a writer holds the warehouse.
            WarehouseRefused: it is not one SELECT, or the engine rejected it.
        """
        ...

    def billed_bytes(self, since: datetime) -> dict[str, int] | None:
        """Return billed bytes by `<source>.<stream>` from `since` on; None when the engine has no such figures."""
        ...


class Marts(Protocol):
    """The published marts, and candidates that may replace them."""

    def begin_candidate(self, candidate: str, *, empty: bool) -> None:
        """Create a candidate as a copy of the published marts, or empty; its former content is deleted."""
        ...

    def restore(self, candidate: str, tables: Collection[str], *, known: Collection[str] | None = None) -> None:
        """Make tables and views of a candidate what is published, or drop those that are not; again: no change.

        With `known`, also all that is published and not among `known`, as its models are gone.
        """
        ...

    def dbt_environment(self, candidate: str) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and build into a candidate."""
        ...

    def published_environment(self, folder: Path) -> dict[str, str]:
        """Return variables that make dbt read this warehouse and the published marts, with a copy in `folder` if any.

        The copy is needed where dbt would lock the marts against their readers.
        """
        ...

    def candidate_url(self, candidate: str) -> str:
        """Return the URL under which the quality gate opens a candidate."""
        ...

    def raw_url(self) -> str:
        """Return the URL under which the quality gate opens the merged tables."""
        ...

    def touched_days(self, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
        """Return days of the partition column in which batches changed rows; None when a list can't express them."""
        ...

    def merged_rows(self, contract: StreamContract, batches: Sequence[str] | None, as_of: datetime | None) -> str:
        """Return SQL of the live rows that batches (None: all) wrote and that are still the newest of their keys."""
        ...

    def marts(self) -> dict[str, int]:
        """Return rows per mart, as readers see them now."""
        ...

    def publish(self, candidate: str) -> dict[str, int]:
        """Replace the marts by a candidate and return rows per mart; readers see old or new. Again: no change.

        Raises:
            CandidateMissing: the candidate does not exist, and is not the published one.
            MartsMissing: the candidate has no marts.
            MartsMoved: other marts were published since the candidate was begun.
        """
        ...


class QualityStore(Protocol):
    """Results of the quality gate."""

    def record_quality(self, facts: Sequence[QualityFact]) -> None:
        """Store results of the gate, all or none."""
        ...

    def newest_quality(self) -> list[QualityFact]:
        """Return the newest results of every suite."""
        ...

    def quality_runs(self, since: datetime) -> list[QualityRun]:
        """Return a summary of each run of the gate from `since` on, newest first."""
        ...


class Warehouse(Connection, MergeStore, Quarantine, Ledger, Marts, QualityStore, Protocol):
    """Merged tables, ledger and marts; every method leaves the warehouse consistent, whenever the process is killed."""


@dataclass(frozen=True)
class GateConnection:
    """A connection for Great Expectations: SQLAlchemy's URL and arguments, and SQL to run on each connection."""

    url: str
    connect_args: Mapping[str, Any] = field(default_factory=dict)
    on_connect: str = ""


class Engine(Protocol):
    """The answers of a database engine for URLs of its scheme; client libraries are imported on use."""

    scheme: str

    def open_warehouse(self, settings: WarehouseSettings, retry_s: float) -> Warehouse:
        """Open the warehouse at `settings.url`; cloud calls are retried for `retry_s`. Raises SettingsError."""
        ...

    def open_marts(self, settings: WarehouseSettings) -> Read:
        """Return the function that queries the marts at `settings.marts_url`. Raises SettingsError."""
        ...

    def export_marts(self, settings: WarehouseSettings, folder: Path) -> list[Path]:
        """Write `<mart>.parquet` of every published mart into a folder; return the files. Raises MartsMissing."""
        ...

    def gate_connection(self, url: str, schema: str) -> GateConnection:
        """Return the connection to a URL that `candidate_url` or `raw_url` returned; unqualified names use `schema`.

        Raises:
            CandidateMissing: the URL names a file that does not exist.
        """
        ...

    def looker_dataset(self, marts_url: str) -> tuple[str, str] | None:
        """Return project and dataset of the marts for Looker Studio, None when it can't read them."""
        ...
