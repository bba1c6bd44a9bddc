"""The documentation on rows that an older version lost: its queries find them, and its statements restore them."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from beam_job.erase import erase, request
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.engine import file_of
from tests.support.merging import NOON, PARQUET, Merging, contract, parquet, upsert
from tests.support.servers import ROOT


def statements() -> list[str]:
    page = (ROOT / "docs" / "operations" / "merge-problems.md").read_text()
    section = page.split("\n## Rows that a version before")[1].split("\n## ")[0]
    return re.findall(r"```sql\n(.*?)```", section, re.DOTALL)


FIND_BATCHES, FORGET_BATCH, FIND_TABLES, FORGET_TABLE = statements()


def change(merging: Merging, sql: str) -> None:
    with duckdb.connect(str(file_of(merging.warehouse.url))) as db:
        db.execute(sql)


@pytest.mark.parametrize("key", [["id"], "position"])
def test_batch_committed_without_rows_is_remerged(lake: Lake, tmp_path: Path, key: object) -> None:
    merging = Merging(lake, tmp_path, contract(key=key))
    for jobs in (1, 2):
        merging.land(rows=[upsert(jobs, 10), upsert(None if key == ["id"] else 5, 10)])
        merging.merge()
    rows = merging.query("SELECT id, name FROM raw_shop.orders_live ORDER BY ALL")
    assert merging.query(FIND_BATCHES) == []
    lost = merging.query("SELECT batch_id FROM ops.ledger WHERE kind = 'merged' ORDER BY \"at\", seq")[1][0]
    change(merging, f"DELETE FROM raw_shop.orders WHERE _batch_id = '{lost}'")
    change(merging, f"UPDATE ops.ledger SET rows_in = 0, merged = 0, quarantined = 0 WHERE batch_id = '{lost}'")
    assert merging.query(FIND_BATCHES) == [("shop", "orders", lost, 0, 2)]
    change(merging, FORGET_BATCH.replace("<batch>", lost))
    merging.merge()
    assert merging.query("SELECT id, name FROM raw_shop.orders_live ORDER BY ALL") == rows


def test_table_with_a_rowid_column_is_rebuilt(lake: Lake, tmp_path: Path) -> None:
    merging = Merging(lake, tmp_path)
    schema = PARQUET.append(pa.field("RowId", pa.int64()))
    merging.land(merging.put(parquet([upsert(key, 20) | {"RowId": 7} for key in (1, 2, 3)], schema)))
    merging.merge()
    request(merging.lake, merging.contract, [{"id": 3}], "test", NOON)
    erase(merging.lake, merging.warehouse, merging.contract, NOON)
    rows = merging.query("SELECT id, name, RowId FROM raw_shop.orders_live ORDER BY ALL")
    assert merging.query(FIND_TABLES) == [("raw_shop", "orders")]
    change(merging, "DELETE FROM raw_shop.orders WHERE id = 2")
    change(merging, FORGET_TABLE.replace("<source>", "shop").replace("<stream>", "orders"))
    merging.merge()
    assert merging.query("SELECT id, name, RowId FROM raw_shop.orders_live ORDER BY ALL") == rows
    assert [row[0] for row in rows] == [1, 2]
