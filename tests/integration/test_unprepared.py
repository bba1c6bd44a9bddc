"""Tables of declared streams: merges and reconcile make them; model runs read them, and build without a missing one."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from millrace.contracts.stream import StreamContract
from millrace.domain.errors import ContractError, StreamUnprepared
from millrace.domain.model import ModelWork
from millrace.project import current_project
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from millrace.warehouse.prepare import create_absent, prepare_streams
from tasks.model import build_candidates as building
from tasks.model.dbt import build_arguments, dbt_variables
from tests.support.merging import contract
from tests.support.modelling import AIRLINES, AIRPORTS, NOON, Modelling, flight
from tests.support.shop import SHOP


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(f"duckdb:///{tmp_path}/w.duckdb", f"duckdb:///{tmp_path}/p.duckdb")


def with_column(stream: StreamContract, kind: str = "string") -> StreamContract:
    return stream.model_validate(
        stream.model_dump() | {"columns": {**stream.model_dump()["columns"], "added": {"type": kind}}}
    )


def test_absent_tables_are_created_once(warehouse: DuckDBWarehouse) -> None:
    orders = contract()
    assert warehouse.missing_columns(orders) is None
    assert create_absent(warehouse, [orders]) == [orders]
    assert warehouse.missing_columns(orders) == []
    assert create_absent(warehouse, [orders]) == []
    assert create_absent(warehouse, [with_column(orders)]) == []


def test_gained_columns_are_added_by_preparation(warehouse: DuckDBWarehouse) -> None:
    orders = contract()
    prepare_streams(warehouse, [orders])
    extended = with_column(orders)
    assert warehouse.missing_columns(extended) == ["added"]
    assert prepare_streams(warehouse, [orders, extended]) == [extended]
    assert warehouse.missing_columns(extended) == []


def test_stream_that_cannot_follow_spares_the_others(
    warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure = warehouse.ensure

    def fail(stream: StreamContract) -> None:
        if stream.stream == "orders":
            raise ContractError("orders can't follow")
        ensure(stream)

    monkeypatch.setattr(warehouse, "ensure", fail)
    streams = list(SHOP.streams.values())
    with pytest.raises(ContractError, match="orders can't follow"):
        prepare_streams(warehouse, streams)
    assert [s.stream for s in streams if warehouse.missing_columns(s) is None] == ["orders"]


def test_model_waits_for_missing_columns(warehouse: DuckDBWarehouse) -> None:
    prepare_streams(warehouse, [contract()])
    with pytest.raises(
        StreamUnprepared, match=r"the table of shop\.orders lacks added of its contract; its next merge"
    ):
        building._streams_without_table(warehouse, [with_column(contract())])
    others = SHOP.stream("visits"), SHOP.stream("customers")
    assert building._streams_without_table(warehouse, others) == ["shop.visits", "shop.customers"]


def test_models_of_absent_streams_are_left_out() -> None:
    assert build_arguments(True, {}, ["shop.b", "shop.a"]) == [
        "build",
        "--full-refresh",
        "--exclude",
        "source:shop.a+",
        "source:shop.b+",
    ]
    assert build_arguments(True, {}) == ["build", "--full-refresh"]
    changed = build_arguments(False, {"shop.a": None}, ["shop.b"])
    assert changed[-4:] == ["--select", "source:shop.a+", "--exclude", "source:shop.b+"]


def run_dbt(arguments: list[str], environment: Mapping[str, str], target: Path) -> None:
    """Run dbt without reporting its nodes to a Prefect server."""
    from dbt.cli.main import dbtRunner

    own = [
        "--project-dir",
        str(current_project().dbt_project),
        "--profiles-dir",
        str(current_project().dbt_project),
        "--target-path",
        str(target),
        "--quiet",
    ]
    with dbt_variables({**environment, "DBT_LOG_PATH": str(target / "logs")}):
        done = dbtRunner().invoke([*arguments, *own])
    assert done.success, done.exception or done.result


@pytest.mark.slow
@pytest.mark.demo
def test_model_builds_without_a_stream_that_has_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modelling = Modelling(tmp_path)
    with modelling.writing() as db:
        db.execute("DROP VIEW IF EXISTS raw_airport_ops.weather_live")
        db.execute("DROP TABLE raw_airport_ops.weather")
    modelling.merge("airlines", *AIRLINES)
    modelling.merge("airports", *AIRPORTS)
    modelling.merge("planes", {"tailnum": "N1", "year": 2000})
    modelling.merge("flights", flight(1))
    monkeypatch.setattr(building, "open_warehouse", lambda: modelling.warehouse)
    monkeypatch.setattr(building, "run_id", lambda: "run")
    monkeypatch.setattr(building, "record_results", lambda *_, **__: None)
    monkeypatch.setattr(building, "invoke_dbt", run_dbt)
    batches = tuple(e.batch_id for e in modelling.warehouse.ledger(NOON, ("merged",)))
    streams = tuple(f"airport_ops.{s}" for s in ("airlines", "airports", "flights", "planes"))
    built = building.build_candidates.fn(ModelWork(batches=batches, streams=streams, whole=True))
    assert {"fct_flights", "dim_airline", "dim_airport"} <= set(built.marts)
    assert "weather_delays" not in built.marts
    with modelling.writing() as db:
        tables = db.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'raw_airport_ops'").fetchall()
    assert ("weather",) not in tables
