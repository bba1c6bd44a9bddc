"""Warehouses with made-up flights, on each engine: batches are put into the merged tables by plain SQL."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from bench.model_run import ModelRun, run_model
from millrace.contracts.source import load_sources
from millrace.domain.ledger import LedgerEntry
from millrace.project import current_project
from millrace.warehouse.bigquery.sql import Namespace
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from millrace.warehouse.port import Warehouse

SOURCE = load_sources(current_project().sources)["airport_ops"]
AIRPORTS = ("JFK", "EWR", "LGA", "ORD", "LAX", "BOS", "MIA", "SFO")
CARRIERS = ("UA", "AA", "B6", "DL")
PLANES = 500
DUCKDB_FLIGHTS = """
INSERT INTO raw_airport_ops.flights BY NAME SELECT
  day AS flight_date, ['UA', 'AA', 'B6', 'DL'][1 + i % 4] AS carrier, i AS flight,
  ['JFK', 'EWR', 'LGA'][1 + i % 3] AS origin,
  ['ORD', 'LAX', 'BOS', 'MIA', 'SFO'][1 + i % 5] AS dest, 'N' || (i % 500) AS tailnum,
  700 AS distance, 'landed' AS status,
  i % 60 AS dep_delay, i % 50 AS arr_delay, 90 + i % 100 AS air_time,
  day + INTERVAL (i % 24) HOUR AS scheduled_departure,
  scheduled_departure AS departed_at, scheduled_departure + INTERVAL 2 HOUR AS landed_at,
  encode(lpad($2::VARCHAR, 12, '0')) AS _version, $2 AS _batch_id, now() AS _extracted_at
FROM (SELECT unnest($1::DATE[]) AS day), range($3) AS r(i)
"""
BIGQUERY_FLIGHTS = """
INSERT INTO {table} (flight_date, carrier, flight, origin, dest, tailnum, distance, status, dep_delay, arr_delay,
  air_time, scheduled_departure, departed_at, landed_at, _version, _batch_id, _extracted_at)
SELECT day, ['UA', 'AA', 'B6', 'DL'][OFFSET(MOD(i, 4))], i, ['JFK', 'EWR', 'LGA'][OFFSET(MOD(i, 3))],
  ['ORD', 'LAX', 'BOS', 'MIA', 'SFO'][OFFSET(MOD(i, 5))], CONCAT('N', CAST(MOD(i, 500) AS STRING)), 700, 'landed',
  MOD(i, 60), MOD(i, 50), 90 + MOD(i, 100), at, at, TIMESTAMP_ADD(at, INTERVAL 2 HOUR),
  CAST(LPAD('{batch}', 12, '0') AS BYTES), '{batch}', CURRENT_TIMESTAMP()
FROM (SELECT day, i, TIMESTAMP_ADD(TIMESTAMP(day), INTERVAL MOD(i, 24) HOUR) AS at
  FROM UNNEST([{days}]) AS day CROSS JOIN UNNEST(GENERATE_ARRAY(0, {last})) AS i)
"""


class Platform(ABC):
    """A warehouse, and batches merged into it; engines differ in how rows come in."""

    def __init__(self, folder: Path, per_day: int, warehouse: Warehouse) -> None:
        self.folder, self.per_day, self.warehouse = folder, per_day, warehouse
        for contract in SOURCE.streams.values():
            warehouse.ensure(contract)
        self.fill("airlines", ("carrier", "name"), [(code, code) for code in CARRIERS])
        self.fill("airports", ("faa", "name", "lat", "lon"), [(code, code, 40.0, -74.0) for code in AIRPORTS])
        self.fill("planes", ("tailnum", "year"), [(f"N{i}", 2000) for i in range(PLANES)])
        for stream in ("airlines", "airports", "planes"):
            self._note(f"dimensions-{stream}", stream, 1)

    @abstractmethod
    def fill(self, stream: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        """Put rows of a dimension into its merged table."""

    @abstractmethod
    def fly(self, batch: str, days: list[date]) -> None:
        """Put all flights of some days into their merged table."""

    def merge(self, batch: str, days: list[date]) -> None:
        """A batch with all flights of some days."""
        self.fly(batch, days)
        self._note(batch, "flights", len(days) * self.per_day)

    def run(self, *, full: bool = False) -> ModelRun:
        """One model run."""
        run = run_model(self.warehouse, self.folder / "state", full=full)
        if run is None:
            raise SystemExit("nothing is pending")
        return run

    def _note(self, batch: str, stream: str, rows: int) -> None:
        self.warehouse.append(
            LedgerEntry(
                kind="merged",
                batch_id=batch,
                source=SOURCE.source,
                stream=stream,
                run_id="bench",
                at=datetime.now(UTC),
                merged=rows,
            )
        )


def _insert(table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> str:
    values = ", ".join(f"({', '.join(map(repr, row))}, 'dimensions', CURRENT_TIMESTAMP)" for row in rows)
    return f"INSERT INTO {table} ({', '.join(columns)}, _batch_id, _extracted_at) VALUES {values}"


class OnDuckDB(Platform):
    """In files of a folder."""

    def __init__(self, folder: Path, per_day: int) -> None:
        self._file = folder / "warehouse.duckdb"
        super().__init__(folder, per_day, DuckDBWarehouse(f"duckdb:///{self._file}", f"duckdb:///{folder}/p.duckdb"))

    def fill(self, stream: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        """Put rows of a dimension into its merged table."""
        with duckdb.connect(str(self._file)) as db:
            db.execute(_insert(f"raw_airport_ops.{stream}", columns, rows))
            db.execute(f"UPDATE raw_airport_ops.{stream} SET _version = 'a'::BLOB")

    def fly(self, batch: str, days: list[date]) -> None:
        """Put all flights of some days into their merged table."""
        with duckdb.connect(str(self._file)) as db:
            db.execute(DUCKDB_FLIGHTS, [days, batch, self.per_day])


class OnBigQuery(Platform):
    """In datasets of a BigQuery, which may be an emulator."""

    def __init__(self, folder: Path, per_day: int, warehouse: BigQueryWarehouse) -> None:
        self._namespace, self._jobs = Namespace.of(warehouse.url), warehouse._jobs
        super().__init__(folder, per_day, warehouse)

    def fill(self, stream: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        """Put rows of a dimension into its merged table."""
        table = self._namespace.table("raw_airport_ops", stream)
        self._jobs.rows(_insert(table, columns, rows), step="bench")
        self._jobs.rows(f"UPDATE {table} SET _version = b'a' WHERE TRUE", step="bench")

    def fly(self, batch: str, days: list[date]) -> None:
        """Put all flights of some days into their merged table."""
        named = ", ".join(f"DATE '{day}'" for day in days)
        table = self._namespace.table("raw_airport_ops", "flights")
        self._jobs.rows(
            BIGQUERY_FLIGHTS.format(table=table, batch=batch, days=named, last=self.per_day - 1), step="bench"
        )
