"""The ledger's part of the warehouse in DuckDB: each method opens the file, asks `ledger.py`, and closes it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain.ledger import NEVER, LedgerEntry, MergedSync
from millrace.domain.model import Publication
from millrace.warehouse.duckdb import ledger as ledger
from millrace.warehouse.duckdb import look as history
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.duckdb.catalog import exists

T = TypeVar("T")
Database = duckdb.DuckDBPyConnection


class LedgerInDuckDB:
    """The ledger of a warehouse that opens its file by `_reading` and `_writing`."""

    def append(self, *entries: LedgerEntry) -> None:
        """Append facts, all or none; the same kind, batch and run again within a day changes nothing."""
        with self._writing("append to the ledger") as db:
            db.execute("BEGIN")
            db.execute(sql.OPS)
            ledger.append(db, *entries)
            db.execute("COMMIT")

    def ledger(self, since: datetime, kinds: Sequence[str] = (), until: datetime = NEVER) -> list[LedgerEntry]:
        """Return facts from `since` on and before `until`, in the order of their writing."""
        return self._ask(lambda db: ledger.entries(db, since, kinds, until), [])

    def unpublished(self, as_of: datetime | None = None) -> list[LedgerEntry]:
        """Return the merges and erasures that no marts include; `as_of` is unused, as `reader` locks writers out."""
        return self._ask(ledger.unpublished, [])

    def unannounced(self) -> list[LedgerEntry]:
        """Return the merges and erasures that were not announced, in the order of their writing."""
        return self._ask(ledger.unannounced, [])

    def unannounced_publication(self) -> Publication | None:
        """Return the newest publication unless it was announced; older ones are not announced any more."""
        return self._ask(ledger.unannounced_publication, None)

    def newest_model(self) -> LedgerEntry | None:
        """Return the `modelled` fact of the newest publication."""
        return self._ask(ledger.newest_model, None)

    def changed_streams(self) -> list[str]:
        """Return the streams of which rows were ever merged or erased, as `<source>.<stream>`."""
        return self._ask(ledger.changed_streams, [])

    def newest_merges(self, since: datetime) -> dict[str, datetime]:
        """Return the time of the newest merge of each stream that was merged from `since` on."""
        return self._ask(lambda db: ledger.newest_merges(db, since), {})

    def count_merges(self, contract: StreamContract, since: datetime) -> int:
        """Return the number of merges of a stream from `since` on."""
        return self._ask(lambda db: ledger.count_merges(db, contract, since), 0)

    def erased(self, contract: StreamContract) -> set[str]:
        """Return the ids of a stream's erasures that were executed."""
        return self._ask(lambda db: ledger.erased(db, contract), set())

    def settle(self, before: datetime) -> None:
        """Store the instant before which every merge is published and announced, if it moved by a day or more."""
        if abs(before - self._ask(ledger.settled, before)) >= ledger.DAY:
            with self._writing("settle the ledger") as db:
                ledger.settle(db, before)

    def merged_syncs(self, since: datetime) -> dict[str, list[MergedSync]]:
        """Return the syncs of each batch that was merged from `since` on."""
        return self._ask(lambda db: history.merged_syncs(db, since), {})

    def _ask(self, question: Callable[[Database], T], nothing: T) -> T:
        with self._reading("read the ledger") as db:
            return question(db) if db and exists(db, "ops", "ledger_objects") else nothing

    def _reading(self, purpose: str) -> AbstractContextManager[Database | None]:
        raise NotImplementedError

    def _writing(self, purpose: str) -> AbstractContextManager[Database]:
        raise NotImplementedError
