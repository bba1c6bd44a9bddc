"""The contract of a warehouse: the same tests on DuckDB and on BigQuery."""

import threading
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from beam_job.redrive import redrive
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.errors import BalanceError, HeadMoved
from millrace.domain.ledger import EVER, Head, LedgerEntry
from millrace.domain.types import Column
from tests.support.comparison import LEDGER
from tests.support.engines import DAYS, Engine, OnEngine
from tests.support.merging import NOON, PARQUET, contract, delete, parquet, upsert

HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))


def test_stream_is_created_once_from_its_contract(merging: OnEngine) -> None:
    warehouse, orders = merging.warehouse, merging.contract
    assert (warehouse.head(orders), warehouse.ledger(EVER), warehouse.evolved_columns(orders)) == (Head(), [], {})
    for _ in range(2):
        warehouse.ensure(orders)
        assert merging.live() == {}
    assert merging.query("SELECT epoch, batch_id FROM {ops}.head__shop__orders") == [(0, "")]
    assert warehouse.evolved_columns(orders) == {}


def test_newer_rows_win_and_older_rows_are_stale(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10), upsert(2, 11), upsert(1, 12), delete(3, 5)])
    assert merging.merge() == [Balance(rows_in=4, merged=3, superseded=1, stale=0, quarantined=0)]
    merging.land(rows=[upsert(1, 11), delete(2, 20), upsert(3, 4), upsert(4, 1), delete(4, 2)])
    assert merging.merge() == [Balance(rows_in=5, merged=4, superseded=0, stale=1, quarantined=0)]
    assert merging.live() == {1: "v12"}
    merging.land(rows=[upsert(2, 30), delete(3, 3), upsert(3, 6)])
    assert merging.merge() == [Balance(rows_in=3, merged=2, superseded=0, stale=1, quarantined=0)]
    assert merging.live() == {1: "v12", 2: "v30", 3: "v6"}
    assert merging.warehouse.count_doubled_keys(merging.contract) == 0


def test_upsert_and_delete_keep_their_own_batch(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10, amount=7), delete(2, 10)])
    merging.merge()
    merging.land(rows=[delete(1, 11), delete(2, 11)])
    merging.merge()
    first, second = (entry.batch_id for entry in merging.warehouse.ledger(EVER))
    rows = merging.query(
        "SELECT id, name, amount, _batch_id, _delete_batch_id, _deleted_at IS NOT NULL, _object FROM {raw}.orders"
        " ORDER BY id"
    )
    objects = [f"{names.sync_prefix('shop', 'orders', job)}0.parquet" for job in (1, 2)]
    assert rows == [(1, "v10", 7, first, second, True, objects[0]), (2, None, None, None, second, True, objects[1])]


@pytest.mark.parametrize(
    ("key", "partition"),
    [
        ("day", {"column": "day"}),
        ("day", {"column": "day", "by": "month"}),
        ("at", {"column": "at", "by": "month"}),
        ("at", {"column": "at", "by": "year"}),
        ("day", {"hash_buckets": 7}),
    ],
    ids=str,
)
def test_merge_finds_each_key_in_its_partition(engine: Engine, key: str, partition: dict[str, Any]) -> None:
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
    assert merging.warehouse.count_doubled_keys(merging.contract) == 0


def test_doubled_key_is_found_by_check_keys(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10), upsert(2, 10)])
    merging.merge()
    assert merging.warehouse.count_doubled_keys(merging.contract) == 0
    merging.engine.change("INSERT INTO {raw}.orders SELECT * FROM {raw}.orders WHERE id = 1")
    assert merging.warehouse.count_doubled_keys(merging.contract) == 1


def test_keyless_rows_stay_and_repeat_on_redrive(engine: Engine) -> None:
    merging = OnEngine(engine, contract(key="position", mode="append", order=[]))
    merging.land(merging.put(parquet([upsert(1, 1), upsert(1, 1), upsert(2, 1) | {"amount": 0.5}], HALF)))
    assert merging.merge() == [Balance(rows_in=3, merged=2, superseded=0, stale=0, quarantined=1)]
    redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
    assert merging.merge() == [Balance(rows_in=3, merged=0, superseded=0, stale=2, quarantined=1)]
    assert merging.query("SELECT COUNT(*), COUNT(DISTINCT _version) FROM {raw}.orders") == [(2, 2)]


def test_snapshot_keeps_keys_of_quarantined_rows(engine: Engine) -> None:
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


def test_new_column_is_added_and_remembered(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 1)])
    merging.merge()
    schema = PARQUET.append(pa.field("colour", pa.string()))
    merging.land(merging.put(parquet([upsert(2, 2) | {"colour": "red"}], schema)))
    merging.merge()
    assert merging.query("SELECT id, colour FROM {raw}.orders_live ORDER BY id") == [(1, None), (2, "red")]
    assert merging.warehouse.evolved_columns(merging.contract) == {"colour": Column(type="string")}
    merging.land(rows=[upsert(3, 3)])
    assert [b.merged for b in merging.merge()] == [1]


def test_repeated_commit_returns_the_same_balance(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10), upsert(1, 11)])
    batch = merging.opened()
    staged = merging.staged(batch)
    first = merging.warehouse.commit(merging.contract, batch, staged, merging.lake, run_id="test", at=NOON)
    again = merging.warehouse.commit(merging.contract, batch, staged, merging.lake, run_id="again", at=NOON)
    assert again == first == merging.warehouse.balance(batch)
    assert merging.query("SELECT epoch FROM {ops}.head__shop__orders") == [(1,)]
    assert merging.query(f"SELECT COUNT(*) FROM {LEDGER}") == [(1,)]
    assert merging.query("SELECT COUNT(*) FROM {ops}.ledger_objects") == [(1,)]


def test_rows_that_do_not_add_up_are_rolled_back(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    batch = merging.opened()
    staged = merging.staged(batch)
    with pytest.raises(BalanceError, match="nothing was committed"):
        merging.commit(batch, staged.model_copy(update={"rows_in": staged.rows_in + 1}))
    assert (merging.live(), merging.warehouse.ledger(EVER)) == ({}, [])
    assert merging.warehouse.head(merging.contract) == Head()
    assert merging.commit(batch, staged).merged == 1


def test_overtaken_or_repeated_batch_is_rejected(merging: OnEngine) -> None:
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
    """Run commits concurrently, and return the result or the error of each."""
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


def test_exactly_one_of_two_racing_commits_wins(merging: OnEngine) -> None:
    merging.land(rows=[upsert(1, 10)])
    first = merging.opened()
    merging.lake.delete(names.open_batch_path("shop", "orders"))
    merging.land(rows=[upsert(2, 20)])
    second = merging.opened()
    work = [(batch, merging.staged(batch), merging.engine.again()) for batch in (first, second)]
    results = race(*(lambda arguments=arguments: merging.commit(*arguments) for arguments in work))
    assert sorted(type(result).__name__ for result in results) == ["Balance", "HeadMoved"]
    merging.merge()
    assert merging.live() == {1: "v10", 2: "v20"}


def test_parallel_commits_of_two_streams_succeed(engine: Engine) -> None:
    streams = [OnEngine(engine, contract(stream=name)) for name in ("orders", "refunds")]
    work = []
    for stream in streams:
        stream.land(rows=[upsert(1, 10), delete(2, 10)])
        batch = stream.opened()
        work.append((stream, batch, stream.staged(batch), engine.again()))
    results = race(*(lambda arguments=arguments: arguments[0].commit(*arguments[1:]) for arguments in work))
    assert [result.merged for result in results] == [2, 2]
    assert [stream.live() for stream in streams] == [{1: "v10"}, {1: "v10"}]
    assert len(engine.warehouse.ledger(EVER, kinds=("merged",))) == 2


def test_quarantined_rows_count_their_attempts(merging: OnEngine) -> None:
    rows = [upsert(1, 10), upsert(2, 11) | {"amount": 0.5}, upsert(1, 12)]
    merging.land(merging.put(parquet(rows, HALF)), merging.put(b"no parquet", part=1))
    assert [b.quarantined for b in merging.merge()] == [2]
    attempts_sql = "SELECT reason, generation > 0, attempts FROM {ops}.quarantine ORDER BY attempts, reason"
    assert merging.query(attempts_sql) == [("file.unreadable", True, 1), ("row.type", True, 1)]
    refused = merging.warehouse.quarantined_objects(merging.contract)
    assert [(o.reasons, o.rows, o.attempts) for o in refused] == [("row.type", 1, 1), ("file.unreadable", 1, 1)]
    wide = {n: c.model_dump() for n, c in merging.contract.columns.items()} | {"amount": {"type": "float64"}}
    merging.contract = contract(columns=wide)
    for admitted in (2, 0):
        redriven = redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
        assert redriven.admitted == admitted
    assert len(merging.warehouse.redriven_manifests(merging.contract)) == 1
    assert [(b.merged, b.stale, b.quarantined) for b in merging.merge()] == [(1, 1, 1)]
    assert merging.live() == {1: "v12", 2: "v11"}
    assert [(o.reasons, o.attempts) for o in merging.warehouse.quarantined_objects(merging.contract)] == [
        ("file.unreadable", 2)
    ]
    assert merging.warehouse.redriven_manifests(merging.contract) == set()


def test_facts_are_appended_once_in_order(engine: Engine) -> None:
    def entry(number: int, kind: str = "published") -> LedgerEntry:
        return LedgerEntry.model_validate(
            {
                "kind": kind,
                "batch_id": f"b{number}",
                "source": "",
                "stream": "",
                "run_id": "r",
                "at": NOON + timedelta(hours=number),
                "detail": 'it\'s \\ "so"',
            }
        )

    warehouse = engine.warehouse
    warehouse.append(entry(2), entry(1))
    warehouse.append(entry(2), entry(1))
    warehouse.append(entry(1), entry(3, "announced"))
    assert warehouse.ledger(EVER) == [entry(2), entry(1), entry(3, "announced")]
    assert warehouse.ledger(EVER, kinds=("announced",)) == [entry(3, "announced")]
    assert warehouse.ledger(NOON + timedelta(hours=2)) == [entry(2), entry(3, "announced")]
    assert warehouse.ledger(NOON, until=NOON + timedelta(hours=3)) == [entry(2), entry(1)]


def test_history_lists_batches_with_their_syncs(merging: OnEngine) -> None:
    warehouse, long_ago = merging.warehouse, NOON - timedelta(days=1)
    assert (warehouse.merged_syncs(long_ago), warehouse.quarantine(), warehouse.quality_runs(long_ago)) == ({}, {}, [])
    two = (merging.put(parquet([upsert(1, 1)])), merging.put(parquet([upsert(2, 1) | {"amount": 0.5}], HALF), part=1))
    merging.land(*two)
    merging.land(rows=[upsert(3, 1), upsert(4, 1)])
    merging.merge()
    ((batch, syncs),) = warehouse.merged_syncs(long_ago).items()
    assert batch == warehouse.ledger(EVER)[0].batch_id
    assert [(s.job_id, s.files, s.rows) for s in syncs] == [(1, 2, 2), (2, 1, 2)]
    assert [(f.object, f.generation, f.rows) for f in syncs[0].first] == [(o.name, o.generation, 1) for o in two]
    assert warehouse.merged_syncs(NOON + timedelta(days=1)) == {}
    assert warehouse.quarantine() == {"shop.orders": warehouse.quarantined_objects(merging.contract)}
    assert [o.rows for o in warehouse.quarantine()["shop.orders"]] == [1]
