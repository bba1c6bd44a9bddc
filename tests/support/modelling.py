"""A warehouse with a few flights that tests merge by hand, and readers of its marts."""

import functools
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from bench.model_run import ModelRun, run_model
from millrace.contracts.source import SourceContract, load_sources
from millrace.domain.ledger import LedgerEntry
from millrace.warehouse.duckdb.lock import hold
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from tests.support.servers import ROOT

Row = dict[str, Any]
LOOK_S = 0.02
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AIRLINES = [{"carrier": "UA", "name": "United"}, {"carrier": "AA", "name": "American"}]
AIRPORTS = [{"faa": code, "name": code, "lat": 40.0, "lon": -74.0} for code in ("JFK", "EWR", "ORD")]


@functools.cache
def demo_source() -> SourceContract:
    """Return the contract of the demo, which a checkout need not have."""
    return load_sources(ROOT / "sources")["airport_ops"]


def flight(day: int, number: int = 1, **other: Any) -> Row:
    """A flight that landed on time."""
    row = {
        "flight_date": date(2013, 1, day),
        "carrier": "UA",
        "flight": number,
        "origin": "JFK",
        "dest": "ORD",
        "tailnum": "N1",
        "distance": 700,
        "status": "landed",
        "dep_delay": 0,
        "arr_delay": 0,
        "air_time": 90,
        "scheduled_departure": datetime(2013, 1, day, 12, tzinfo=UTC),
        "departed_at": datetime(2013, 1, day, 12, tzinfo=UTC),
        "landed_at": datetime(2013, 1, day, 14, tzinfo=UTC),
    }
    return row | other


class Modelling:
    """A warehouse, merges into it, and model runs."""

    def __init__(self, folder: Path, source: SourceContract | None = None) -> None:
        self.folder, self.source = folder, source or demo_source()
        self.marts_file = folder / "published.duckdb"
        self.warehouse = DuckDBWarehouse(f"duckdb:///{folder}/warehouse.duckdb", f"duckdb:///{self.marts_file}")
        for stream in self.source.streams.values():
            self.warehouse.ensure(stream)
        self._numbers = itertools.count(1)
        self.seen: list[tuple[Any, ...]] = []

    def run(self, **options: Any) -> ModelRun | None:
        """Publish the pending work. Raises QualityFailed."""
        return run_model(self.warehouse, self.folder / "state", **options)

    def merge(self, stream: str, *rows: Row, deletes: tuple[Row, ...] = (), counted: bool = True) -> str:
        """Make rows the newest of their keys, and keys deleted, as one batch; returns its id."""
        contract, number = self.source.stream(stream), next(self._numbers)
        batch, table = f"b{number}", f"raw_{self.source.source}.{stream}"
        version = number.to_bytes(8, "big")
        with self.writing() as db:
            for row in (*rows, *deletes):
                match = " AND ".join(f"{name} = ?" for name in contract.key)
                key = [row[name] for name in contract.key]
                if row in deletes:
                    db.execute(
                        f"UPDATE {table} SET _delete_version = ?, _delete_batch_id = ? WHERE {match}",
                        [version, batch, *key],
                    )
                    continue
                db.execute(f"DELETE FROM {table} WHERE {match}", key)
                own = row | {"_version": version, "_batch_id": batch, "_extracted_at": NOON}
                columns, places = ", ".join(f'"{c}"' for c in own), ", ".join("?" * len(own))
                db.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", list(own.values()))
        merged = len(rows) + len(deletes) if counted else 0
        self.warehouse.append(
            LedgerEntry(
                kind="merged",
                batch_id=batch,
                source=self.source.source,
                stream=stream,
                run_id="r",
                at=NOON,
                merged=merged,
            )
        )
        return batch

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The merged tables, to change them behind the ledger's back."""
        file = self.folder / "warehouse.duckdb"
        with hold(file.with_name(f"{file.name}.lock"), "test", 10), duckdb.connect(str(file)) as db:
            yield db

    def marts(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the marts, as readers see them."""
        with duckdb.connect(str(self.marts_file), read_only=True) as db:
            return db.execute(sql).fetchall()


class Poller(threading.Thread):
    """Reads the marts as a BI tool would, again and again, and keeps every different thing it saw."""

    def __init__(self, file: Path, sql: str) -> None:
        super().__init__(daemon=True)
        self._file, self._sql, self._ended = file, sql, threading.Event()
        self.seen: list[Any] = []
        self.looks = 0

    def run(self) -> None:
        """Look until the end."""
        while not self._ended.wait(LOOK_S):
            try:
                with duckdb.connect(str(self._file), read_only=True) as db:
                    rows: Any = db.execute(self._sql).fetchall()
            except duckdb.Error as error:
                rows = repr(error)
            self.looks += 1
            if not self.seen or self.seen[-1] != rows:
                self.seen.append(rows)

    def end(self) -> list[Any]:
        """Stop, and return the observed results in order."""
        self._ended.set()
        self.join()
        return self.seen
