"""Refreshes: once a newer generation is read to its end, rows that it lacks are gone, in any order and any cut."""

import itertools
import logging
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from beam_job import refresh
from beam_job.redrive import redrive
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.store import Lake
from millrace.warehouse.duckdb import replace
from tests.integration.test_landing import Land, manifest, source, sync
from tests.integration.test_landing import land as landing  # noqa: F401  a fixture
from tests.integration.test_snapshots import HALF, cuts
from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess
from tests.support.merging import NOON, Merging, contract, delete, parquet, upsert

Row = dict[str, Any]
Sync = tuple[int, str, list[Row]]  # generation, outcome and rows


def of(generation: int, row: Row) -> Row:
    return row | {"_airbyte_generation_id": generation}


def land(merging: Merging, generation: int, *rows: Row, stated: bool = True, **options: Any) -> str:
    """Land a sync of a generation, which its manifest tells if it is `stated`."""
    options |= {"generation_id": generation} if stated else {}
    return merging.land(rows=[of(generation, row) for row in rows], **options)


@pytest.fixture
def merging() -> InProcess:
    return InProcess(contract())


@pytest.mark.parametrize("stated", [True, False])
def test_refresh_removes_rows_that_it_lacks(merging: InProcess, stated: bool, caplog: pytest.LogCaptureFixture) -> None:
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"), stated=stated)
    merging.merge()
    land(merging, 2, {"id": 1, "name": "a2"}, stated=stated)
    with caplog.at_level(logging.INFO):
        assert merging.merge() == [
            Balance(rows_in=1, merged=1, superseded=0, stale=0, quarantined=0, tombstoned_by_absence=1)
        ]
    assert merging.live() == {1: "a2"}
    assert "merge.older_removed: shop.orders was refreshed: 1 rows of generations before 2 were removed" in caplog.text
    land(merging, 1, upsert(3, 99, "late"), stated=stated)
    assert merging.merge()[0].stale == 1
    assert merging.live() == {1: "a2"}
    assert merging.warehouse.count_doubled_keys(merging.contract) == 0


def test_refresh_removes_rows_on_each_engine(engine: Engine) -> None:
    merging = OnEngine(engine, contract())
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"), upsert(3, 12, "c"), delete(4, 13))
    merging.merge()
    land(merging, 1, delete(3, 14))
    merging.merge()
    land(merging, 2, {"id": 1, "name": "a2"})
    assert merging.merge() == [
        Balance(rows_in=1, merged=1, superseded=0, stale=0, quarantined=0, tombstoned_by_absence=1)
    ]
    assert merging.live() == {1: "a2"}
    land(merging, 2, upsert(5, 20, "e2"), delete(1, 21))
    land(merging, 1, upsert(6, 99, "late"))
    (balance,) = merging.merge()
    assert (balance.merged, balance.stale, balance.tombstoned_by_absence) == (2, 1, 0)
    assert merging.live() == {5: "e2"}


@pytest.mark.parametrize("changes", [{"refresh": "retain"}, {"deletes": "ignore"}], ids=str)
def test_retained_rows_stay(changes: dict[str, str]) -> None:
    merging = InProcess(contract(**changes))
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"))
    land(merging, 2, upsert(1, 1, "a2"))
    merging.merge()
    assert merging.live() == {1: "a2", 2: "b"}
    assert merging.warehouse.head(merging.contract).floor == ""


def test_failed_refresh_removes_nothing_yet(merging: InProcess) -> None:
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"), upsert(3, 12, "c"))
    land(merging, 2, upsert(1, 1, "a2"), outcome="failed")
    merging.merge()
    assert merging.live() == {1: "a2", 2: "b", 3: "c"}
    land(merging, 2, upsert(2, 1, "b2"))
    merging.merge()
    assert merging.live() == {1: "a2", 2: "b2"}


@pytest.mark.parametrize(
    ("changes", "removed", "live"),
    [
        ({}, False, {1: "a2", 2: "b"}),
        ({}, True, {1: "a2"}),
        ({"refresh": "remove"}, False, {1: "a2"}),
        ({"refresh": "retain"}, True, {1: "a2", 2: "b"}),
    ],
    ids=str,
)
def test_append_follows_airbyte(changes: dict[str, str], removed: bool, live: dict[int, str]) -> None:
    merging = InProcess(contract(mode="append", **changes))
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"))
    merging.merge()
    land(merging, 2, upsert(1, 1, "a2"), older_removed=removed)
    merging.merge()
    assert merging.live() == live


def test_refresh_removes_rows_without_a_key() -> None:
    merging = InProcess(contract(mode="append", key="position", order=[]))
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"))
    merging.merge()
    land(merging, 2, upsert(1, 1, "a2"), older_removed=True)
    assert merging.merge()[0].tombstoned_by_absence == 2
    assert merging.query("SELECT name FROM raw_shop.orders_live") == [("a2",)]


def syncs(mode: str) -> list[Sync]:
    """Return two syncs of each of three generations, the first of which failed; each key has another history.

    The cursor of later generations starts over, as in a refresh of a restored source.
    """
    syncs: list[Sync] = []
    histories = list(itertools.product((False, True), repeat=6))
    for place in range(6):
        generation, second = place // 2 + 1, place % 2
        base = 100 * (4 - generation) + 10 * second
        rows = [upsert(key, base, f"v{place}") for key, history in enumerate(histories) if history[place]]
        if mode == "cdc" and second:  # every third key is deleted by the second sync of its generation
            rows += [delete(key, base + 1) for key, history in enumerate(histories) if history[place] and key % 3 == 0]
        syncs.append((generation, "succeeded" if second else "failed", rows))
    return syncs


def live_rows(syncs: list[Sync]) -> dict[int, str]:
    """Return the live rows: of the newest generation that was read to its end, by the newest change of each key."""
    whole = max((generation for generation, outcome, _ in syncs if outcome == "succeeded"), default=0)
    newest: dict[int, Row] = {}
    for _, _, rows in sorted((s for s in syncs if s[0] >= whole), key=lambda s: (s[0], s[1])):
        newest |= {row["id"]: row for row in rows}
    return {key: row["name"] for key, row in newest.items() if "name" in row}


def check_history(merging: Merging, syncs: list[Sync], batches: list[list[int]], stated: bool) -> None:
    """Land and merge syncs by their places, several in a batch, and compare the live rows after each batch."""
    landed: list[Sync] = []
    for batch in batches:
        for place in batch:
            generation, outcome, rows = syncs[place]
            removed = outcome == "succeeded" and merging.contract.mode == "append"
            land(merging, generation, *rows, stated=stated, outcome=outcome, older_removed=removed)
            landed.append(syncs[place])
        assert len(merging.merge()) == 1
        assert merging.live() == live_rows(landed), batches
    assert merging.warehouse.count_doubled_keys(merging.contract) == 0


@pytest.mark.parametrize("step", [3001, pytest.param(577, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["cdc", "append"])
def test_refreshes_merge_alike_however_cut(mode: str, step: int) -> None:
    orders = itertools.permutations(range(6))
    histories = [batches for order in orders for batches in cuts(order)]  # 23,040, of which each step-th is merged
    for number, batches in enumerate(histories[::step]):
        check_history(InProcess(contract(mode=mode)), syncs(mode), batches, stated=number % 2 == 0 or mode == "append")


@pytest.mark.parametrize("batches", [[[1], [3], [5], [0, 2, 4]], [[5, 2], [0, 4], [3, 1]]], ids=str)
def test_refreshes_merge_alike_on_each_engine(engine: Engine, batches: list[list[int]]) -> None:
    check_history(OnEngine(engine, contract()), syncs("cdc"), batches, stated=True)


BAD = {"amount": 0.5}


def put_rows(merging: Merging, generation: int, *rows: Row, part: int = 0) -> LandedObject:
    """Write a file in which a row with half an amount is refused."""
    return merging.put(parquet([of(generation, row) for row in rows], HALF), part=part)


def refreshed_in_part(merging: Merging, *, stated: bool, outcome: str) -> LandedObject:
    """Merge a generation and a newer one that has a row in quarantine; return the object with that row."""
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"), upsert(3, 12, "c"), stated=stated)
    merging.merge()
    refused = put_rows(merging, 2, upsert(1, 1, "a2"), upsert(2, 2, "b2") | BAD)
    merging.land(refused, outcome=outcome, **({"generation_id": 2} if stated else {}))
    merging.merge()
    return refused


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_refused_row_blocks_the_removal(stated: bool, outcome: str, caplog: pytest.LogCaptureFixture) -> None:
    merging = InProcess(contract())
    refused = refreshed_in_part(merging, stated=stated, outcome=outcome)
    with caplog.at_level(logging.ERROR):
        land(merging, 2, upsert(4, 3, "d2"), stated=stated)
        assert merging.merge()[0].tombstoned_by_absence == 0
    assert merging.live() == {1: "a2", 2: "b", 3: "c", 4: "d2"}
    assert f"can not replace the table's rows: {refused.name}: row.type" in caplog.text
    merging.lake.write(refused.name, parquet([of(2, upsert(1, 1, "a2")), of(2, upsert(2, 2, "b2"))]))
    redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
    assert sum(balance.tombstoned_by_absence for balance in merging.merge()) == 1
    assert merging.live() == {1: "a2", 2: "b2", 4: "d2"}


def test_next_generation_is_not_blocked(merging: InProcess) -> None:
    refreshed_in_part(merging, stated=False, outcome="succeeded")
    land(merging, 3, upsert(1, 1, "a3"), stated=False)
    merging.merge()
    assert merging.live() == {1: "a3"}


def test_unreadable_file_blocks_its_own_refresh(merging: InProcess) -> None:
    merging.land(merging.put(b"no parquet"))
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"), stated=False)
    merging.merge()
    assert merging.warehouse.head(merging.contract).floor, "an older file of an unknown generation blocks nothing"
    merging.land(merging.put(b"no parquet"), put_rows(merging, 2, upsert(1, 1, "a2"), part=1))
    merging.merge()
    assert merging.live() == {1: "a2", 2: "b"}
    land(merging, 3, upsert(1, 1, "a3"), stated=False)
    merging.merge()
    assert merging.live() == {1: "a3"}


def test_older_generation_of_a_blocked_batch_counts(merging: InProcess) -> None:
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"))
    land(merging, 2, upsert(1, 1, "a2"))
    merging.land(put_rows(merging, 3, upsert(5, 1, "e3"), upsert(6, 1) | BAD), generation_id=3)
    merging.merge()
    assert merging.live() == {1: "a2", 5: "e3"}


def test_raised_epoch_alone_removes_nothing(merging: InProcess) -> None:
    land(merging, 4, upsert(9, 90, "old"))
    land(merging, 5, upsert(1, 10, "a"), upsert(2, 11, "b"))
    land(merging, 5, upsert(1, 1, "a2"), epoch=1)
    merging.merge()
    assert merging.live() == {1: "a2", 2: "b"}
    land(merging, 5, upsert(3, 2, "c"), epoch=1, stated=False)
    merging.merge()
    assert merging.live() == {1: "a2", 2: "b", 3: "c"}
    land(merging, 6, upsert(1, 1, "a3"), epoch=1)
    merging.merge()
    assert merging.live() == {1: "a3"}


def test_recreated_connection_removes_old_rows(merging: InProcess) -> None:
    land(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"))
    merging.merge()
    land(merging, 1, upsert(1, 1, "a2"), epoch=1, connection_id="d")
    merging.merge()
    assert merging.live() == {1: "a2"}


def test_object_removed_by_a_refresh_is_superseded(merging: InProcess) -> None:
    gone = put_rows(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"))
    merging.land(gone, generation_id=1)
    land(merging, 2, upsert(1, 1, "a2"))
    merging.lake.delete(gone.name)
    assert merging.merge() == [Balance(rows_in=3, merged=1, superseded=2, stale=0, quarantined=0)]
    late = put_rows(merging, 1, upsert(3, 12, "c"))
    merging.land(late, generation_id=1)
    merging.lake.delete(late.name)
    assert merging.merge() == [Balance(rows_in=1, merged=0, superseded=1, stale=0, quarantined=0)]


def test_object_before_the_first_refresh_is_superseded(merging: InProcess) -> None:
    gone = put_rows(merging, 0, upsert(1, 10, "a"), upsert(2, 11, "b"))
    merging.land(gone)
    land(merging, 1, upsert(1, 1, "a1"))
    merging.lake.delete(gone.name)
    assert merging.merge() == [Balance(rows_in=3, merged=1, superseded=2, stale=0, quarantined=0)]


def test_lost_object_of_a_raised_epoch_is_reported(merging: InProcess) -> None:
    lost = put_rows(merging, 2, upsert(1, 10, "a"))
    merging.land(lost, generation_id=2)
    land(merging, 2, upsert(2, 1, "b"), epoch=1)
    merging.lake.delete(lost.name)
    merging.merge()
    assert merging.query("SELECT reason FROM ops.quarantine") == [("file.missing",)]


def test_lost_object_of_unknown_generation_is_reported(merging: InProcess) -> None:
    land(merging, 2, upsert(1, 1, "a2"))
    merging.merge()
    lost = put_rows(merging, 2, upsert(2, 2, "b2"))
    merging.land(lost)
    merging.lake.delete(lost.name)
    merging.merge()
    assert merging.query("SELECT reason FROM ops.quarantine") == [("file.missing",)]


def test_same_generation_reads_the_table_once(merging: InProcess) -> None:
    land(merging, 2, upsert(1, 1, "a2"))
    merging.merge()
    with (
        mock.patch.object(replace, "_delete_older", side_effect=AssertionError("the table was read")),
        mock.patch.object(refresh, "_refused", side_effect=AssertionError("the quarantine was read")),
        mock.patch.object(replace.merging, "not_replaced", wraps=replace.merging.not_replaced) as condition,
    ):
        land(merging, 2, upsert(2, 2, "b2"))
        merging.merge()
    condition.assert_called_once_with("")
    assert merging.live() == {1: "a2", 2: "b2"}


def test_contract_refuses_a_field_of_another_mode() -> None:
    with pytest.raises(ValueError, match="refresh: "):
        contract(mode="overwrite", refresh="remove")


@pytest.mark.parametrize("kept", [True, False])
def test_landing_sees_what_airbyte_removed(lake: Lake, landing: Land, kept: bool) -> None:  # noqa: F811
    contracts = source(orders="append")

    def sync_of(hour: int, generation: int, outcome: str = "succeeded") -> LandingManifest:
        blob = lake._bucket.blob(f"{names.sync_prefix('shop', 'orders', hour)}0.parquet")  # type: ignore[attr-defined]
        blob.metadata = {"ab-generation-id": str(generation)}
        blob.upload_from_string(parquet([upsert(1, 1)]))
        ended = sync(job_id=hour, created_at=NOON + timedelta(hours=hour), rows=1, outcome=outcome)
        return manifest(lake, landing(lake, ended, contracts)["orders"])

    first = sync_of(1, 1)
    assert not sync_of(2, 2, "failed").older_removed
    if not kept:
        lake.delete(first.objects[0].name)
    assert sync_of(3, 2).older_removed is not kept
    assert sync_of(4, 2).older_removed is not kept
    assert not sync_of(5, 3).older_removed, "the objects of generation 2 are there"
