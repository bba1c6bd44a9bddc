"""Layouts of merged tables in BigQuery, which replaces a table only by one of the same layout. On the emulator."""

import itertools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance
from millrace.domain.errors import BudgetExceeded, WarehouseRefused
from tests.support.bigquery import BigQuery
from tests.support.engines import DAYS, Engine, OnEngine, bigquery_engine
from tests.support.merging import NOON, PARQUET, contract, parquet, upsert

pytestmark = pytest.mark.bigquery
LAYOUTS = {"the key": [], "a column": ["name"], "two columns": ["amount", "id"]}


@pytest.fixture
def engine(request: pytest.FixtureRequest, bigquery: BigQuery) -> Iterator[Engine]:
    with bigquery_engine(bigquery, request.getfixturevalue("lake")) as bigquery_run:
        yield bigquery_run


def grown(declared: StreamContract, kind: str, cluster: list[str]) -> StreamContract:
    """Return a contract whose `amount` has another type, with other columns to cluster by."""
    columns = {n: c.model_dump() for n, c in declared.columns.items()} | {"amount": {"type": kind}}
    return contract(columns=columns, cluster=cluster)


@pytest.mark.parametrize("cluster", LAYOUTS.values(), ids=LAYOUTS)
def test_migration_changes_the_clustering(engine: Engine, bigquery: BigQuery, front: str, cluster: list[str]) -> None:
    merging = OnEngine(engine, grown(contract(), "float64", []))
    merging.land(rows=[upsert(1, 10), upsert(2, 10)])
    merging.merge()
    strict = bigquery.warehouse(engine.schema("").rstrip("_"), endpoint=front, retry_s=3)
    table = f"{bigquery.project}.{engine.schema('raw_shop')}.orders"
    strict._jobs.rows(f"CREATE TABLE `{table}_other` CLUSTER BY name AS SELECT * FROM `{table}`", step="test")
    with pytest.raises(WarehouseRefused, match="Cannot replace a table with a different partitioning spec"):
        strict._jobs.rows(f"CREATE OR REPLACE TABLE `{table}` COPY `{table}_other`", step="test")
    changed = grown(merging.contract, "string", cluster)
    assert strict.migrate(changed) == {"amount": "string"}
    client: Any = bigquery.client()
    assert client.get_table(table).clustering_fields == (cluster or ["id"])
    assert merging.live() == {1: "v10", 2: "v10"}
    assert strict.migrate(grown(changed, "string", ["name", "id"])) == {}
    assert client.get_table(table).clustering_fields == ["name", "id"]
    merging.contract = changed
    strict.close()
    client.close()


KEYED = {"columns": {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, **DAYS}}
PARTITIONED = {
    "in the key": {"key": ["id", "day"], "partition": {"column": "day"}},
    "beside the key": {"key": ["id"], "deletes": "ignore", "partition": {"column": "day", "by": "month"}},
    "without a key": {"key": [], "mode": "append", "order": [], "partition": {"column": "at"}},
}


@pytest.mark.parametrize("case", PARTITIONED)
def test_too_many_partitions_leave_the_batch_pending(engine: Engine, case: str) -> None:
    merging = OnEngine(engine, contract(**KEYED | PARTITIONED[case]))
    schema = PARQUET.append(pa.field("day", pa.date32())).append(pa.field("at", pa.timestamp("us", "UTC")))

    numbers = itertools.count(1)

    def merge(*months: int) -> list[Balance]:
        days = [(next(numbers), NOON.replace(month=month)) for month in months]
        rows = [upsert(number, number) | {"day": at.date(), "at": at} for number, at in days]
        merging.land(merging.put(parquet(rows, schema)))
        return merging.merge()

    limits = "millrace.warehouse.bigquery.partitions"
    with mock.patch(f"{limits}.MOST_OF_A_TABLE", 2), mock.patch(f"{limits}.COUNTED_FROM", 1):
        assert [b.merged for b in (*merge(1, 2), *merge(2))] == [2, 1]
        with pytest.raises(BudgetExceeded, match=r"would give the table of shop\.orders 3 partitions"):
            merge(3)
    assert [b.merged for b in merging.merge()] == [1], "it is merged when the limit is no longer exceeded"
    with (
        mock.patch("millrace.warehouse.bigquery.merge_sql.MOST_PARTITIONS", 3),
        pytest.raises(BudgetExceeded, match=r"touches more than 3 partitions of shop\.orders"),
    ):
        merge(4, 5, 6, 7)
    assert merging.query("SELECT COUNT(*), COUNT(DISTINCT day) FROM {raw}.orders") == [(4, 3)]
