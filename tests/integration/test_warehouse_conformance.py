"""What a warehouse does, whichever engine it is on: the same bodies on DuckDB and on BigQuery."""

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest

from beam_job.batches import pending
from beam_job.erase import erase, request
from beam_job.redrive import redrive
from contracts import names
from contracts.batch import Balance
from contracts.errors import BalanceError, ContractError, HeadMoved
from contracts.ledger import Head, LedgerEntry
from contracts.stream import Column
from tests.integration.engines import DAYS, Engine, OnEngine
from tests.integration.merging import NOON, PARQUET, contract, delete, parquet, upsert
from warehouse import bigquery_sql as sql

HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))


def test_a_stream_is_made_from_its_contract_and_making_it_again_changes_nothing(merging: OnEngine) -> None:
    warehouse, orders = merging.warehouse, merging.contract
    assert (warehouse.head(orders), warehouse.ledger(), warehouse.learned(orders)) == (Head(), [], {})
    for _ in range(2):
        warehouse.ensure(orders)
        assert merging.live() == {}
    assert merging.query("SELECT epoch, batch_id FROM {ops}.head__shop__orders") == [(0, "")]
    assert warehouse.learned(orders) == {}


def test_newer_rows_win_older_ones_are_stale_and_deletes_keep_their_register(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10), upsert(2, 11), upsert(1, 12), delete(3, 5)])
    assert merging.merge() == [Balance(rows_in=4, merged=3, superseded=1, stale=0, quarantined=0)]
    merging.land(rows=[upsert(1, 11), delete(2, 20), upsert(3, 4), upsert(4, 1), delete(4, 2)])
    assert merging.merge() == [Balance(rows_in=5, merged=4, superseded=0, stale=1, quarantined=0)]
    assert merging.live() == {1: "v12"}
    merging.land(rows=[upsert(2, 30), delete(3, 3), upsert(3, 6)])
    assert merging.merge() == [Balance(rows_in=3, merged=2, superseded=0, stale=1, quarantined=0)]
    assert merging.live() == {1: "v12", 2: "v30", 3: "v6"}
    assert merging.warehouse.audit(merging.contract) == 0


def test_body_and_delete_of_a_key_bear_their_own_batch_and_columns_stay(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10, amount=7), delete(2, 10)])
    merging.merge()
    merging.land(rows=[delete(1, 11), delete(2, 11)])
    merging.merge()
    first, second = (entry.batch_id for entry in merging.warehouse.ledger())
    rows = merging.query(
        "SELECT id, name, amount, _batch_id, _delete_batch_id, _deleted_at IS NOT NULL, _object FROM {raw}.orders"
        " ORDER BY id"
    )
    objects = [f"{names.sync_prefix('shop', 'orders', job)}0.parquet" for job in (1, 2)]
    assert rows == [(1, "v10", 7, first, second, True, objects[0]), (2, None, None, None, second, True, objects[1])]


@pytest.mark.parametrize(
    ("key", "partition"),
    [("day", {"column": "day"}), ("day", {"column": "day", "by": "month"}), ("at", {"column": "at", "by": "month"}),
     ("at", {"column": "at", "by": "year"}), ("day", {"hash_buckets": 7})],
    ids=str,
)  # fmt: skip
def test_a_merge_finds_each_key_in_its_partition(engine: Engine, key: str, partition: dict[str, Any]) -> None:
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, key: DAYS[key]}
    merging = OnEngine(engine, contract(key=["id", key], partition=partition, columns=columns))
    kind = pa.date32() if key == "day" else pa.timestamp("us", "UTC")
    schema = PARQUET.append(pa.field(key, kind))

    def land(lsn: int, *days: int) -> None:
        rows = [upsert(i % 3, lsn, name=f"{lsn}.{i}") | {key: NOON + timedelta(days=i)} for i in days]
        rows = [row | ({key: row[key].date()} if key == "day" else {}) for row in rows]
        merging.land(merging.put(parquet(rows, schema)))

    land(1, 0, 1, 40, 400)
    assert [b.merged for b in merging.merge()] == [4]
    land(2, 1, 41, 400)
    assert [(b.merged, b.stale) for b in merging.merge()] == [(3, 0)]
    land(0, 0, 40, 41)
    assert [(b.merged, b.stale) for b in merging.merge()] == [(0, 3)]
    rows = merging.query("SELECT name FROM {raw}.orders_live ORDER BY name")
    assert [name for (name,) in rows] == ["1.0", "1.40", "2.1", "2.400", "2.41"]
    assert merging.warehouse.audit(merging.contract) == 0


def test_a_key_that_stands_in_two_rows_is_found_by_the_audit(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10), upsert(2, 10)])
    merging.merge()
    assert merging.warehouse.audit(merging.contract) == 0
    merging.engine.change("INSERT INTO {raw}.orders SELECT * FROM {raw}.orders WHERE id = 1")
    assert merging.warehouse.audit(merging.contract) == 1


ERASABLE = {
    "int64": {},
    "two keys, by month": {"key": ["id", "day"], "partition": {"column": "day", "by": "month"}},
    "an instant, by hash": {"key": ["id", "at"], "partition": {"hash_buckets": 7}},
}


@pytest.mark.parametrize("what", ERASABLE)
def test_an_erased_key_stays_empty_whatever_comes_and_when_all_is_merged_anew(engine: Engine, what: str) -> None:
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, **DAYS}
    merging = OnEngine(engine, contract(**{"columns": columns, **ERASABLE[what]}))
    schema = PARQUET.append(pa.field("colour", pa.string()))
    for name, kind in (("day", pa.date32()), ("at", pa.timestamp("us", "UTC"))):
        schema = schema.append(pa.field(name, kind))

    def land(*rows: dict[str, Any]) -> None:
        own = {"colour": "red", "day": NOON.date(), "at": NOON}
        merging.land(merging.put(parquet([own | row for row in rows], schema)))

    def stands() -> None:
        assert merging.live() == {2: "v10"}
        empty = "name IS NULL AND colour IS NULL AND _object IS NULL AND _extracted_at IS NULL"
        found = merging.query(f"SELECT COUNT(*), MIN(_batch_id) FROM {{raw}}.orders WHERE id = 1 AND {empty}")
        assert found == [(1, erasure.id)]
        assert merging.warehouse.audit(merging.contract) == 0

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
    stands()
    land(upsert(1, 20), delete(1, 21), upsert(9, 1))
    assert merging.merge() == [Balance(rows_in=3, merged=0, superseded=0, stale=3, quarantined=0)]
    stands()
    (fact,) = merging.warehouse.ledger(kinds=("erased",))
    assert (fact.batch_id, fact.rows_in, fact.merged, fact.detail) == (erasure.id, 2, 1, "request 7")
    engine.lose()
    assert merging.merge() == [Balance(rows_in=5, merged=1, superseded=1, stale=3, quarantined=0)]
    stands()
    assert pending(merging.lake, merging.warehouse, merging.contract) == []


def test_a_stream_without_a_key_keeps_every_row_once_and_once_more_after_a_redrive(engine: Engine) -> None:
    merging = OnEngine(engine, contract(key="position", mode="append", order=[]))
    merging.land(merging.put(parquet([upsert(1, 1), upsert(1, 1), upsert(2, 1) | {"amount": 0.5}], HALF)))
    assert merging.merge() == [Balance(rows_in=3, merged=2, superseded=0, stale=0, quarantined=1)]
    redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
    assert merging.merge() == [Balance(rows_in=3, merged=0, superseded=0, stale=2, quarantined=1)]
    assert merging.query("SELECT COUNT(*), COUNT(DISTINCT _version) FROM {raw}.orders") == [(2, 2)]


def test_a_snapshot_replaces_and_a_refused_row_is_not_absent(engine: Engine) -> None:
    merging = OnEngine(engine, contract(mode="overwrite", order=[]))

    def land(generation: int, *rows: dict[str, Any]) -> None:
        merging.land(merging.put(parquet(list(rows), HALF)), generation_id=generation)

    land(2, {"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"})
    merging.merge()
    land(3, {"id": 1, "name": "a3"}, {"id": 2, "name": "b3", "amount": 0.5})
    assert merging.merge() == [
        Balance(rows_in=2, merged=1, superseded=0, stale=0, quarantined=1, tombstoned_by_absence=1)
    ]
    assert merging.live() == {1: "a3", 2: "b"}
    land(1, {"id": 4, "name": "late"}, {"id": 1, "name": "late"})
    assert merging.merge() == [Balance(rows_in=2, merged=0, superseded=0, stale=2, quarantined=0)]
    assert merging.live() == {1: "a3", 2: "b"}
    assert merging.warehouse.head(merging.contract).epoch == 3


def test_a_new_column_is_added_and_known_from_then_on(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 1)])
    merging.merge()
    schema = PARQUET.append(pa.field("colour", pa.string()))
    merging.land(merging.put(parquet([upsert(2, 2) | {"colour": "red"}], schema)))
    merging.merge()
    assert merging.query("SELECT id, colour FROM {raw}.orders_live ORDER BY id") == [(1, None), (2, "red")]
    assert merging.warehouse.learned(merging.contract) == {"colour": Column(type="string")}
    merging.land(rows=[upsert(3, 3)])
    assert [b.merged for b in merging.merge()] == [1]


WIDENINGS = {
    "int64 to float64": ("int64", "float64", pa.int64(), pa.float64(), 1, 0.5),
    "int64 to decimal": ("int64", "decimal(22,2)", pa.int64(), pa.decimal128(22, 2), 1, "0.50"),
    "decimal to a longer one": (
        "decimal(5,2)", "decimal(8,3)", pa.decimal128(5, 2), pa.decimal128(8, 3), "1.25", "2.125",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WIDENINGS)
def test_a_column_is_widened_in_place(engine: Engine, what: str) -> None:
    before, after, old, new, low, high = WIDENINGS[what]
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, "size": {"type": before}}
    merging = OnEngine(engine, contract(columns=columns, evolution={"type_changes": "widen"}))
    for lsn, (kind, value) in enumerate(((old, low), (new, high)), 1):
        shown = Decimal(value) if isinstance(value, str) else value
        schema = PARQUET.append(pa.field("size", kind))
        merging.land(merging.put(parquet([upsert(lsn, lsn) | {"size": shown}], schema)))
        assert [b.merged for b in merging.merge()] == [1]
    found = [float(size) for (size,) in merging.query("SELECT size FROM {raw}.orders_live ORDER BY id")]
    assert found == [float(low), float(high)]
    assert merging.warehouse.learned(merging.contract)["size"].type == after


def test_a_date_becomes_a_timestamp_or_is_refused_by_name(engine: Engine) -> None:
    columns = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, "seen": {"type": "date"}}
    merging = OnEngine(engine, contract(columns=columns, evolution={"type_changes": "widen"}))
    for kind, value in ((pa.date32(), NOON.date()), (pa.timestamp("us", "UTC"), NOON)):
        merging.land(
            merging.put(parquet([upsert(1, merging.jobs) | {"seen": value}], PARQUET.append(pa.field("seen", kind))))
        )
        if kind != pa.date32() and engine.note("bigquery", "a date column can't become a timestamp in place"):
            with pytest.raises(ContractError, match="seen is date in the table and should become timestamp"):
                merging.merge()
            assert [entry.kind for entry in merging.warehouse.ledger()] == ["merged"]
            return
        merging.merge()
    assert merging.query("SELECT seen FROM {raw}.orders_live") == [(NOON,)]


def test_a_migration_gives_a_table_the_types_that_no_merge_can(engine: Engine) -> None:
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
    assert merging.warehouse.learned(merging.contract) == {"amount": Column(type="int64")}
    schema = schema.set(schema.get_field_index("size"), pa.field("size", pa.string()))
    land(upsert(1, 9) | {"size": "late"}, upsert(3, 11) | {"size": "large"}, delete(1, 12) | {"size": None})
    assert [(b.merged, b.stale) for b in merging.merge()] == [(2, 1)]
    assert merging.query("SELECT id, seen, size FROM {raw}.orders_live") == [(3, midnight, "large")]


def test_a_migration_that_a_merge_came_between_changes_nothing(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    merging.merge()
    columns = {n: c.model_dump() for n, c in merging.contract.columns.items()}
    wanted = contract(columns=columns | {"amount": {"type": "string"}})
    if merging.engine.note("bigquery", "a migration copies the table, and gives up when a merge comes between"):
        merging.land(rows=[upsert(1, 11, amount=5)])
        copied = sql.copy_converted

        def merge_meanwhile(*given: Any) -> str:
            merging.merge()
            return copied(*given)

        with (
            mock.patch.object(sql, "copy_converted", merge_meanwhile),
            pytest.raises(HeadMoved, match="a merge was committed meanwhile, the head went from 1 to 2"),
        ):
            merging.warehouse.migrate(wanted)
        assert merging.query("SELECT name, amount FROM {raw}.orders_live") == [("v11", 5)]
    assert merging.warehouse.migrate(wanted) == {"amount": "string"}


def test_tables_of_an_older_version_get_the_columns_that_they_lack(merging: OnEngine) -> None:
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


def test_a_commit_again_gives_the_same_balance_and_changes_nothing(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10), upsert(1, 11)])
    batch = merging.opened()
    staged = merging.staged(batch)
    first = merging.warehouse.commit(merging.contract, batch, staged, merging.lake, run_id="test", at=NOON)
    again = merging.warehouse.commit(merging.contract, batch, staged, merging.lake, run_id="again", at=NOON)
    assert again == first == merging.warehouse.balance(batch.id)
    assert merging.query("SELECT epoch FROM {ops}.head__shop__orders") == [(1,)]
    assert merging.query("SELECT COUNT(*) FROM {ops}.ledger") == [(1,)]
    assert merging.query("SELECT COUNT(*) FROM {ops}.ledger_objects") == [(1,)]


def test_rows_that_do_not_add_up_are_not_committed(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    batch = merging.opened()
    staged = merging.staged(batch)
    with pytest.raises(BalanceError, match="nothing was committed"):
        merging.commit(batch, staged.model_copy(update={"rows_in": staged.rows_in + 1}))
    assert (merging.live(), merging.warehouse.ledger()) == ({}, [])
    assert merging.warehouse.head(merging.contract) == Head()
    assert merging.commit(batch, staged).merged == 1


def test_a_batch_that_was_overtaken_or_holds_merged_objects_is_refused(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    late = merging.opened()
    merging.merge()
    other = late.model_copy(update={"id": "shop-orders-other"})
    with pytest.raises(HeadMoved, match=r"opened at epoch 0 of shop\.orders, but the head is at 1"):
        merging.commit(other)
    with pytest.raises(HeadMoved, match="1 of its objects are merged already"):
        merging.commit(other.model_copy(update={"head_epoch": 1}))
    assert merging.warehouse.head(merging.contract).epoch == 1


def race(*commits: Any) -> list[Any]:
    """What came of commits that ran at a time."""
    results: list[Any] = []

    def attempt(commit: Any) -> None:
        try:
            results.append(commit())
        except HeadMoved as error:
            results.append(error)

    threads = [threading.Thread(target=attempt, args=(commit,)) for commit in commits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_two_commits_to_one_stream_at_a_time_exactly_one_wins(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    first = merging.opened()
    merging.lake.delete(names.open_batch_path("shop", "orders"))
    merging.land(rows=[upsert(2, 20)])
    second = merging.opened()
    work = [(batch, merging.staged(batch), merging.engine.again()) for batch in (first, second)]
    results = race(*(lambda one=one: merging.commit(*one) for one in work))
    assert sorted(type(result).__name__ for result in results) == ["Balance", "HeadMoved"]
    merging.merge()
    assert merging.live() == {1: "v10", 2: "v20"}


def test_commits_to_two_streams_at_a_time_both_win(engine: Engine) -> None:
    streams = [OnEngine(engine, contract(stream=name)) for name in ("orders", "refunds")]
    work = []
    for stream in streams:
        stream.land(rows=[upsert(1, 10), delete(2, 10)])
        batch = stream.opened()
        work.append((stream, batch, stream.staged(batch), engine.again()))
    results = race(*(lambda one=one: one[0].commit(*one[1:]) for one in work))
    assert [result.merged for result in results] == [2, 2]
    assert [stream.live() for stream in streams] == [{1: "v10"}, {1: "v10"}]
    assert len(engine.warehouse.ledger(kinds=("merged",))) == 2


def test_refused_rows_and_files_stand_in_the_quarantine_with_their_attempts(merging: OnEngine) -> None:
    rows = [upsert(1, 10), upsert(2, 11) | {"amount": 0.5}, upsert(1, 12)]
    merging.land(merging.put(parquet(rows, HALF)), merging.put(b"no parquet", part=1))
    assert [b.quarantined for b in merging.merge()] == [2]
    found = "SELECT reason, generation > 0, attempts FROM {ops}.quarantine ORDER BY attempts, reason"
    assert merging.query(found) == [("file.unreadable", True, 1), ("row.type", True, 1)]
    refused = merging.warehouse.refused(merging.contract)
    assert [(o.reasons, o.rows, o.attempts) for o in refused] == [("row.type", 1, 1), ("file.unreadable", 1, 1)]
    wide = {n: c.model_dump() for n, c in merging.contract.columns.items()} | {"amount": {"type": "float64"}}
    merging.contract = contract(columns=wide)
    for admitted in (2, 0):
        done = redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
        assert done.admitted == admitted
    assert len(merging.warehouse.redriven(merging.contract)) == 1
    assert [(b.merged, b.stale, b.quarantined) for b in merging.merge()] == [(1, 1, 1)]
    assert merging.live() == {1: "v12", 2: "v11"}
    assert [(o.reasons, o.attempts) for o in merging.warehouse.refused(merging.contract)] == [("file.unreadable", 2)]
    assert merging.warehouse.redriven(merging.contract) == set()


def test_facts_are_appended_once_and_read_in_their_order(engine: Engine) -> None:
    def entry(number: int, kind: str = "published") -> LedgerEntry:
        return LedgerEntry.model_validate(
            {"kind": kind, "batch_id": f"b{number}", "source": "", "stream": "", "run_id": "r",
             "at": NOON + timedelta(hours=number), "detail": "it's \\ \"so\""}
        )  # fmt: skip

    warehouse = engine.warehouse
    warehouse.append(entry(2), entry(1))
    warehouse.append(entry(2), entry(1))
    warehouse.append(entry(1), entry(3, "announced"))
    assert warehouse.ledger() == [entry(2), entry(1), entry(3, "announced")]
    assert warehouse.ledger(kinds=("announced",)) == [entry(3, "announced")]
    assert warehouse.ledger(since=NOON + timedelta(hours=2)) == [entry(2), entry(3, "announced")]
