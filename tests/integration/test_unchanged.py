"""A value that an update did not change stays that of the upsert before, whatever the order and cut of the batches."""

from typing import Any

import pytest

from beam_job.erase import request
from millrace.domain.batch import Balance
from tests.support.comparison import LEDGER
from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess, MemoryWarehouse
from tests.support.merging import NOON, parquet
from tests.support.unchanged import (
    SCHEMA,
    SIDE,
    STORED,
    UNCHANGED,
    Event,
    Row,
    batches,
    expected,
    histories,
    land,
    merge_schedules,
    model,
    people,
    person,
    rows,
)


@pytest.mark.parametrize(
    ("lsns", "values", "deleted"),
    [
        ([1, 2, 3], [UNCHANGED, "v{}", None], 4),
        ([1, 3, 4], [UNCHANGED, "v{}", None], 2),
        pytest.param([1, 2, 4, 5], [UNCHANGED, "v{}"], 3, marks=pytest.mark.slow),
    ],
    ids=["deleted", "revived", "four upserts"],
)
def test_unchanged_value_in_any_order_and_cut(lsns: list[int], values: list[str | None], deleted: int) -> None:
    schedules = [parts for events in histories(lsns, values, deleted) for parts in batches(events)]
    merging = InProcess(people())
    merge_schedules(merging, schedules)
    assert merging.query(f"{STORED} raw_shop.orders ORDER BY id") == expected(schedules)
    totals = merging.query("SELECT sum(rows_in), sum(merged + superseded + stale) FROM ops.ledger")
    assert totals == [(sum(len(part) for parts in schedules for part in parts),) * 2]
    (dangling,) = merging.query(f"SELECT count(*) FROM {SIDE} ANTI JOIN raw_shop.orders USING (id, _version)")
    assert dangling == (0,)


@pytest.mark.parametrize("first", ["v{}", pytest.param(UNCHANGED, marks=pytest.mark.slow)])
@pytest.mark.parametrize("last", ["v{}", pytest.param(UNCHANGED, marks=pytest.mark.slow)])
def test_unchanged_value_of_a_single_key(first: str, last: str) -> None:
    values = zip((1, 2, 3), (first, UNCHANGED, last), ("v{}", None, UNCHANGED), strict=True)
    events: list[Event] = [(lsn, bio.format(lsn), cv and cv.format(lsn), False) for lsn, bio, cv in values]
    for parts in batches(events):
        merging = InProcess(people())
        merge_schedules(merging, [parts])
        assert rows(merging) == [(0, *model(events)[:2])], parts
        merging.warehouse.close()


@pytest.mark.slow
def test_value_of_a_replaced_generation_does_not_count() -> None:
    """The second generation is read to its end by its second sync: from then on the first one's rows are gone."""
    syncs = [
        (1, person(1, 1, "a", "a"), "succeeded"),
        (2, person(1, 2, cv="b"), "failed"),
        (2, person(2, 3, "c", "c"), "succeeded"),
    ]
    for parts in batches(syncs):
        merging = InProcess(people())
        for part in parts:
            for generation, row, outcome in part:
                file = merging.put(parquet([row], SCHEMA))
                merging.land(file, generation_id=generation, outcome=outcome)
            merging.merge()
        assert rows(merging) == [(1, None, "b"), (2, "c", "c")], parts
        merging.warehouse.close()


def test_rebuilt_warehouse_has_the_same_values() -> None:
    merging = InProcess(people())
    for lsn, bio, cv in ((2, UNCHANGED, "b"), (1, "a", "a"), (4, UNCHANGED, UNCHANGED), (3, None, "c")):
        land(merging, person(1, lsn, bio, cv), person(lsn + 10, lsn, bio, cv))
        merging.merge()
    before = rows(merging)
    assert before[0] == (1, None, "c")
    merging.warehouse = MemoryWarehouse()
    assert [balance.rows_in for balance in merging.merge()] == [8]
    assert rows(merging) == before


def test_engines_agree_in_any_order_and_cut(engine: Engine) -> None:
    merging = OnEngine(engine, people(partition={"hash_buckets": 7}))
    schedules = [parts for events in histories([1, 3, 4], [UNCHANGED, "v{}"], 2) for parts in batches(events)]
    merge_schedules(merging, schedules)
    assert merging.query(f"{STORED} {{raw}}.orders ORDER BY id") == expected(schedules)
    totals = merging.query(f"SELECT SUM(rows_in), SUM(merged + superseded + stale) FROM {LEDGER}")
    assert totals == [(sum(len(part) for parts in schedules for part in parts),) * 2]
    entries, raw = "{ops}.unchanged__shop__orders", "{raw}.orders"
    kept = merging.query(f"SELECT COUNT(*) FROM {entries} e JOIN {raw} t ON t.id = e.id AND t._version = e._version")
    assert kept == merging.query(f"SELECT COUNT(*) FROM {entries}")


def test_engines_agree_on_other_cases(engine: Engine) -> None:
    merging = OnEngine(engine, people())

    def merge(*part: Row, **options: Any) -> list[tuple[int, int, int]]:
        merging.land(merging.put(parquet(list(part), SCHEMA)), **options)
        return [(b.merged, b.superseded, b.stale) for b in merging.merge()]

    assert merge(person(1, 1, "a", "1"), person(2, 5, "new"), person(3, 5)) == [(3, 0, 0)]
    assert merge(person(1, 2, "b"), person(1, 3), person(2, 4, "old", "4")) == [(2, 1, 0)]
    request(merging.lake, merging.contract, [{"id": 3}], "test", NOON)
    assert merge(person(3, 4, "late", "4"), person(2, 3, "older", "3")) == [(0, 0, 2)]
    stored = merging.query("SELECT id, bio, cv FROM {raw}.orders ORDER BY id")
    assert stored == [(1, "b", "1"), (2, "new", "4"), (3, None, None)]
    assert merging.query("SELECT DISTINCT id FROM {ops}.unchanged__shop__orders ORDER BY id") == [(1,), (2,)]
    assert merge(person(1, 9, cv="9"), generation_id=1, outcome="failed") == [(1, 0, 0)]
    assert merging.query("SELECT bio, cv FROM {raw}.orders WHERE id = 1") == [("b", "9")]
    assert merge(person(4, 1, "d", "2"), generation_id=1) == [(1, 0, 0)]
    live = merging.query("SELECT id, bio, cv FROM {raw}.orders_live ORDER BY id")
    assert live == [(1, None, "9"), (4, "d", "2")]


def test_commit_again_returns_the_same_balance(engine: Engine) -> None:
    merging = OnEngine(engine, people())
    merging.land(merging.put(parquet([person(1, 1, "a", "a")], SCHEMA)))
    merging.merge()
    merging.land(merging.put(parquet([person(1, 3, cv="c"), person(1, 2, "b")], SCHEMA)))
    batch = merging.opened()
    staged = merging.staged(batch)
    first = merging.commit(batch, staged)
    assert first == merging.commit(batch, staged) == Balance(rows_in=2, merged=1, superseded=1, stale=0, quarantined=0)
    assert merging.query("SELECT bio, cv FROM {raw}.orders") == [("b", "c")]
