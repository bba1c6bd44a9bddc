"""The same merges modelled on DuckDB and on BigQuery: the marts have the same rows."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pytest

from bench.model_run import ModelRun, run_model
from millrace.domain.ledger import LedgerEntry
from millrace.domain.quality import QualityFact, QualityResult
from millrace.warehouse.bigquery.sql import Namespace
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from tests.support.bigquery import BigQuery
from tests.support.modelling import AIRLINES, AIRPORTS, NOON, Modelling, Row, demo_source, flight

pytestmark = [pytest.mark.demo, pytest.mark.bigquery, pytest.mark.timeout(900)]
TABLES = (
    "dim_airline",
    "dim_airport",
    "dim_plane",
    "fct_flights",
    "airline_punctuality_daily",
    "airline_punctuality_monthly",
    "route_delays",
    "weather_delays",
)


class Models(Protocol):
    """A warehouse that accepts merges and model runs."""

    def merge(self, stream: str, *rows: Row, deletes: tuple[Row, ...] = ()) -> str: ...

    def run(self) -> ModelRun | None: ...


class BigQueryModelling:
    """The counterpart of `Modelling` on BigQuery, with the same merges."""

    def __init__(self, folder: Path, warehouse: BigQueryWarehouse) -> None:
        self.folder, self.warehouse, self._number = folder, warehouse, 0
        self._namespace = Namespace.of(warehouse.url)
        for stream in demo_source().streams.values():
            warehouse.ensure(stream)

    def run(self) -> ModelRun | None:
        return run_model(self.warehouse, self.folder)

    def merge(self, stream: str, *rows: Row, deletes: tuple[Row, ...] = ()) -> str:
        self._number += 1
        contract, batch = demo_source().stream(stream), f"b{self._number}"
        table, version = self._namespace.raw(contract), f"FROM_HEX('{self._number:016x}')"
        for row in (*rows, *deletes):
            match = " AND ".join(f"{name} = {literal(row[name])}" for name in contract.key)
            if row in deletes:
                gone = f"_delete_version = {version}, _delete_batch_id = '{batch}'"
                self.query(f"UPDATE {table} SET {gone} WHERE {match}")
                continue
            self.query(f"DELETE FROM {table} WHERE {match}")
            columns, values = ", ".join(f"`{name}`" for name in row), ", ".join(map(literal, row.values()))
            self.query(
                f"INSERT INTO {table} ({columns}, _version, _batch_id, _extracted_at)"
                f" SELECT {values}, {version}, '{batch}', {literal(NOON)}"
            )
        self.warehouse.append(
            LedgerEntry(
                kind="merged",
                batch_id=batch,
                source=demo_source().source,
                stream=stream,
                run_id="r",
                at=NOON,
                merged=len(rows) + len(deletes),
            )
        )
        return batch

    def query(self, sql: str) -> list[Any]:
        return self.warehouse._jobs.rows(sql, step="test")

    def mart(self, name: str) -> str:
        return self._namespace.table("marts", name)


def literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat()}'"
    if isinstance(value, date):
        return f"DATE '{value}'"
    return "NULL" if value is None else repr(value)


@pytest.fixture(scope="module")
def place(bigquery: BigQuery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigQueryModelling]:
    if find_spec("sqlalchemy_bigquery") is None:
        pytest.skip("sqlalchemy-bigquery, with which Great Expectations reads BigQuery, is not installed")
    with bigquery.prefix() as prefix:
        yield BigQueryModelling(tmp_path_factory.mktemp("model"), bigquery.warehouse(prefix))


def play(place: Models) -> list[set[str]]:
    """Make three runs: the first; one with changed days, a deleted flight and new weather; one with a deleted day."""
    built = []
    place.merge("airlines", *AIRLINES)
    place.merge("airports", *AIRPORTS)
    place.merge("planes", {"tailnum": "N1", "year": 2000})
    place.merge("flights", flight(1), flight(2), flight(2, 2))
    built.append(place.run())
    place.merge("flights", flight(2, distance=800), flight(3, dep_delay=20), flight(4), flight(5, status="lost"))
    place.merge("weather", {"origin": "JFK", "time_hour": flight(1)["scheduled_departure"], "precip": 1.0})
    built.append(place.run())
    place.merge("flights", deletes=(flight(4),))
    built.append(place.run())
    return [set(run.marts) for run in built if run]


def test_both_engines_build_the_same_marts(tmp_path: Path, place: BigQueryModelling) -> None:
    duckdb = Modelling(tmp_path)
    assert play(place) == play(duckdb)
    assert place.run() is None
    for name in TABLES:
        columns = [c for (c,) in duckdb.marts(f"SELECT column_name FROM (DESCRIBE marts.{name})")]
        shown = ", ".join(columns)
        theirs = [tuple(map(plain, row)) for row in place.query(f"SELECT {shown} FROM {place.mart(name)}")]
        ours = [tuple(map(plain, row)) for row in duckdb.marts(f"SELECT {shown} FROM marts.{name}")]
        assert sorted(theirs, key=str) == sorted(ours, key=str), name
    assert any(row[0] == date(2013, 1, 4) for row in duckdb.marts("SELECT * FROM marts.airline_punctuality_daily"))


def test_gate_history_has_newest_suite_results(place: BigQueryModelling) -> None:
    assert place.warehouse.newest_quality() == []

    def fact(suite: str, at: datetime, *, success: bool, sample: tuple[str, ...] = ()) -> QualityFact:
        result = QualityResult(suite=suite, expectation="expect_x", column="a", success=success, sample=sample)
        return QualityFact(at=at, by="model", run_id="r", candidate="c", result=result)

    old, other = fact("one", NOON, success=False, sample=("x", "y")), fact("two", NOON, success=False, sample=("z",))
    new = fact("one", NOON + timedelta(hours=1), success=True)
    place.warehouse.record_quality([old, other])
    place.warehouse.record_quality([new])
    assert place.warehouse.newest_quality() == [new, other]
    runs = place.warehouse.quality_runs(NOON)
    assert [(r.at, r.held, r.failed, r.left_out, r.warned) for r in runs] == [(new.at, 1, 0, 0, 0), (NOON, 0, 2, 0, 0)]
    assert place.warehouse.quality_runs(NOON + timedelta(minutes=1)) == runs[:1]


def plain(value: Any) -> Any:
    """Return instants without their zone: dbt's DuckDB has none, and both mean UTC."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
