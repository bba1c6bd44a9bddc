"""`millrace sql` and the export of marts, as the warehouse answers them: the same tests on DuckDB and on BigQuery."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from millrace.domain.errors import WarehouseRefused
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.engines import export_marts
from tests.support.engines import Engine, OnEngine
from tests.support.merging import contract, upsert


@pytest.fixture
def published(engine: Engine) -> Engine:
    """Merged rows of `shop.orders`, and two marts."""
    stream = OnEngine(engine, contract())
    stream.land(rows=[upsert(1, 10), upsert(2, 10)])
    stream.commit(stream.opened())
    engine.build("candidate_1", {"fct": "SELECT 1 AS id UNION ALL SELECT 2", "dim": "SELECT 1 AS id, 'a' AS name"})
    engine.warehouse.publish("candidate_1")
    return engine


def test_query_joins_marts_rows_and_ledger(published: Engine) -> None:
    sql = (
        "SELECT f.id, l.kind FROM marts.fct f JOIN raw_shop.orders_live r ON r.id = f.id"
        " CROSS JOIN ops.ledger l WHERE l.kind = 'merged' AND l.at > TIMESTAMP '2020-01-01 00:00:00+00' ORDER BY f.id"
    )
    query = published.warehouse.query
    assert query(sql).to_pylist() == [{"id": 1, "kind": "merged"}, {"id": 2, "kind": "merged"}]
    assert query(sql, 1).to_pylist() == [{"id": 1, "kind": "merged"}]


@pytest.mark.parametrize("sql", ["DELETE FROM ops.ledger WHERE TRUE", "SELECT 1; SELECT 2", "SELECT * FROM marts.none"])
def test_query_only_reads_what_exists(published: Engine, sql: str) -> None:
    with pytest.raises(WarehouseRefused):
        published.warehouse.query(sql)
    assert published.warehouse.query("SELECT COUNT(*) AS n FROM raw_shop.orders_live").to_pylist() == [{"n": 2}]


def test_export_has_every_mart(published: Engine, tmp_path: Path) -> None:
    warehouse = published.warehouse
    endpoint = getattr(getattr(warehouse, "_jobs", None), "_endpoint", "")
    settings = WarehouseSettings(url=warehouse.url, marts_url=warehouse.marts_url, endpoint=endpoint)
    files = export_marts(settings, tmp_path)
    assert [file.name for file in files] == ["dim.parquet", "fct.parquet"]
    assert sorted(row["id"] for row in pq.read_table(files[1]).to_pylist()) == [1, 2]
