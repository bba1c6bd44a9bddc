"""Schema changes and erasures: the same tests on DuckDB and on BigQuery."""

from decimal import Decimal
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest

from beam_job.batches import pending
from beam_job.erase import erase, request
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.errors import ContractError, HeadMoved
from millrace.domain.ledger import EVER
from millrace.domain.types import Column
from millrace.warehouse.bigquery import sql as sql
from tests.support.engines import DAYS, Engine, OnEngine
from tests.support.merging import NOON, PARQUET, contract, delete, parquet, upsert

HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))
WIDENINGS = {
    "int64 to float64": ("int64", "float64", pa.int64(), pa.float64(), 1, 0.5),
    "int64 to decimal": ("int64", "decimal(22,2)", pa.int64(), pa.decimal128(22, 2), 1, "0.50"),
    "decimal to a longer one": (
        "decimal(5,2)",
        "decimal(8,3)",
        pa.decimal128(5, 2),
        pa.decimal128(8, 3),
        "1.25",
        "2.125",
    ),
}


@pytest.mark.parametrize("widening", WIDENINGS)
def test_column_is_widened_in_place(engine: Engine, widening: str) -> None:
    before, after, old, new, low, high = WIDENINGS[widening]
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, "size": {"type": before}}
    merging = OnEngine(engine, contract(columns=columns, evolution={"type_changes": "widen"}))
    for lsn, (kind, value) in enumerate(((old, low), (new, high)), 1):
        shown = Decimal(value) if isinstance(value, str) else value
        schema = PARQUET.append(pa.field("size", kind))
        merging.land(merging.put(parquet([upsert(lsn, lsn) | {"size": shown}], schema)))
        assert [b.merged for b in merging.merge()] == [1]
    sizes = [float(size) for (size,) in merging.query("SELECT size FROM {raw}.orders_live ORDER BY id")]
    assert sizes == [float(low), float(high)]
    assert merging.warehouse.evolved_columns(merging.contract)["size"].type == after


def test_date_widens_to_timestamp_or_is_rejected(engine: Engine) -> None:
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, "seen": {"type": "date"}}
    merging = OnEngine(engine, contract(columns=columns, evolution={"type_changes": "widen"}))
    for kind, value in ((pa.date32(), NOON.date()), (pa.timestamp("us", "UTC"), NOON)):
        merging.land(
            merging.put(parquet([upsert(1, merging.jobs) | {"seen": value}], PARQUET.append(pa.field("seen", kind))))
        )
        if kind != pa.date32() and engine.note("bigquery", "a date column can't become a timestamp in place"):
            with pytest.raises(ContractError, match="seen is date in the table and should become timestamp"):
                merging.merge()
            assert [entry.kind for entry in merging.warehouse.ledger(EVER)] == ["merged"]
            return
        merging.merge()
    assert merging.query("SELECT seen FROM {raw}.orders_live") == [(NOON,)]


def test_migration_allows_types_that_no_merge_can(engine: Engine) -> None:
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}}
    before = {"day": {"type": "date", "nullable": False}, "seen": {"type": "date"}, "size": {"type": "int64"}}
    after = {"day": before["day"], "seen": {"type": "timestamp"}, "size": {"type": "string"}}
    laid_out = {"key": ["id", "day"], "partition": {"column": "day", "by": "month"}, "cluster": ["id"]}
    merging = OnEngine(engine, contract(columns=columns | before, **laid_out))
    schema = PARQUET
    for name, kind in (("day", pa.date32()), ("seen", pa.date32()), ("size", pa.int64())):
        schema = schema.append(pa.field(name, kind))

    def land(*rows: dict[str, Any]) -> None:
        own = {"day": NOON.date(), "seen": NOON.date(), "size": 7}
        merging.land(merging.put(parquet([own | row for row in rows], schema)))

    land(upsert(1, 10), delete(2, 10))
    merging.merge()
    merging.contract = contract(columns=columns | after, **laid_out)
    with pytest.raises(ContractError, match=r"run migrate for shop\.orders to make text of it"):
        merging.warehouse.ensure(merging.contract)
    assert merging.warehouse.migrate(merging.contract) == {"seen": "timestamp", "size": "string"}
    assert merging.warehouse.migrate(merging.contract) == {}
    midnight = NOON.replace(hour=0)
    assert merging.query("SELECT id, seen, size FROM {raw}.orders_live") == [(1, midnight, "7")]
    assert merging.warehouse.evolved_columns(merging.contract) == {"amount": Column(type="int64")}
    schema = schema.set(schema.get_field_index("size"), pa.field("size", pa.string()))
    land(upsert(1, 9) | {"size": "late"}, upsert(3, 11) | {"size": "large"}, delete(1, 12) | {"size": None})
    assert [(b.merged, b.stale) for b in merging.merge()] == [(2, 1)]
    assert merging.query("SELECT id, seen, size FROM {raw}.orders_live") == [(3, midnight, "large")]


def test_migration_that_lost_a_race_does_nothing(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    columns = {n: c.model_dump() for n, c in merging.contract.columns.items()}
    new_contract = contract(columns=columns | {"amount": {"type": "string"}})
    if merging.engine.note("bigquery", "a migration copies the table, and gives up when a merge comes between"):
        merging.land(rows=[upsert(1, 11, amount=5)])
        copied = sql.copy_converted

        def merge_meanwhile(*arguments: Any) -> str:
            merging.merge()
            return copied(*arguments)

        with (
            mock.patch.object(sql, "copy_converted", merge_meanwhile),
            pytest.raises(HeadMoved, match="a merge was committed meanwhile, the head went from 1 to 2"),
        ):
            merging.warehouse.migrate(new_contract)
        assert merging.query("SELECT name, amount FROM {raw}.orders_live") == [("v11", 5)]
    assert merging.warehouse.migrate(new_contract) == {"amount": "string"}


def test_old_tables_get_their_missing_columns(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    merging.engine.change(
        "ALTER TABLE {ops}.quarantine DROP COLUMN attempts", "ALTER TABLE {ops}.head__shop__orders DROP COLUMN floor"
    )
    merging.warehouse = merging.engine.again()  # type: ignore[assignment]
    merging.land(merging.put(parquet([upsert(2, 11) | {"amount": 0.5}, upsert(3, 11)], HALF)))
    assert [(b.merged, b.quarantined) for b in merging.merge()] == [(1, 1)]
    assert merging.query("SELECT attempts FROM {ops}.quarantine") == [(1,)]
    assert merging.warehouse.head(merging.contract).floor == ""


ERASABLE = {
    "int64": {},
    "two keys, by month": {"key": ["id", "day"], "partition": {"column": "day", "by": "month"}},
    "an instant, by hash": {"key": ["id", "at"], "partition": {"hash_buckets": 7}},
}


@pytest.mark.parametrize("case", ERASABLE)
def test_erased_key_stays_erased_on_full_remerge(engine: Engine, case: str) -> None:
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, **DAYS}
    merging = OnEngine(engine, contract(**{"columns": columns, **ERASABLE[case]}))
    schema = PARQUET.append(pa.field("colour", pa.string()))
    for name, kind in (("day", pa.date32()), ("at", pa.timestamp("us", "UTC"))):
        schema = schema.append(pa.field(name, kind))

    def land(*rows: dict[str, Any]) -> None:
        own = {"colour": "red", "day": NOON.date(), "at": NOON}
        merging.land(merging.put(parquet([own | row for row in rows], schema)))

    def check_erased() -> None:
        assert merging.live() == {2: "v10"}
        empty = "name IS NULL AND colour IS NULL AND _object IS NULL AND _extracted_at IS NULL"
        rows_left = merging.query(f"SELECT COUNT(*), MIN(_batch_id) FROM {{raw}}.orders WHERE id = 1 AND {empty}")
        assert rows_left == [(1, erasure.id)]
        assert merging.warehouse.count_doubled_keys(merging.contract) == 0

    land(upsert(1, 10), upsert(2, 10))
    merging.merge()
    key = {"id": "1", "day": f"{NOON:%Y-%m-%d}", "at": NOON.isoformat()}
    keys = [{name: (key | {"id": number})[name] for name in merging.contract.key} for number in ("1", "9")]
    erasure = request(merging.lake, merging.contract, keys, "request 7", NOON)
    assert pending(merging.lake, merging.warehouse, merging.contract) == [
        names.erasure_path("shop", "orders", erasure.id)
    ]
    assert erase(merging.lake, merging.warehouse, merging.contract, NOON) == 1
    assert merging.warehouse.erase(merging.contract, erasure, at=NOON) == 0
    check_erased()
    land(upsert(1, 20), delete(1, 21), upsert(9, 1))
    assert merging.merge() == [Balance(rows_in=3, merged=0, superseded=0, stale=3, quarantined=0)]
    check_erased()
    (fact,) = merging.warehouse.ledger(EVER, kinds=("erased",))
    assert (fact.batch_id, fact.rows_in, fact.merged, fact.detail) == (erasure.id, 2, 1, "request 7")
    engine.lose()
    assert merging.merge() == [Balance(rows_in=5, merged=1, superseded=1, stale=3, quarantined=0)]
    check_erased()
    assert pending(merging.lake, merging.warehouse, merging.contract) == []
