"""Overwrite streams: only the newest complete snapshot replaces the table's rows."""

import logging
from typing import Any

import pyarrow as pa
import pytest

from millrace.domain.batch import Balance
from tests.support.in_process import InProcess
from tests.support.merging import PARQUET, contract, parquet

HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))


@pytest.fixture
def merging() -> InProcess:
    return InProcess(contract(mode="overwrite", order=[]))


def row(id: int | None, name: str, amount: float | None = None) -> dict[str, Any]:
    return {"id": id, "name": name, "amount": amount}


def snapshot(merging: InProcess, generation: int, *names: str, **options: Any) -> Balance:
    """Merge a snapshot with these names for the keys 1, 2, …."""
    rows = [row(id, name) for id, name in enumerate(names, 1) if name]
    merging.land(rows=rows, generation_id=generation, **options)
    return merging.merge()[-1]


def test_newest_snapshot_replaces_and_buries_keys(merging: InProcess) -> None:
    snapshot(merging, 1, "a1", "b1", "c1")
    balance = snapshot(merging, 2, "a2", "", "c2")
    assert balance == Balance(rows_in=2, merged=2, superseded=0, stale=0, quarantined=0, tombstoned_by_absence=1)
    assert merging.live() == {1: "a2", 3: "c2"}
    assert merging.query("SELECT name, _deleted_at IS NOT NULL FROM raw_shop.orders WHERE id = 2") == [("b1", True)]
    assert snapshot(merging, 3, "a3", "b3").tombstoned_by_absence == 1
    assert merging.live() == {1: "a3", 2: "b3"}


def test_late_older_snapshot_changes_nothing(merging: InProcess) -> None:
    snapshot(merging, 2, "a2")
    before = merging.query("FROM raw_shop.orders")
    late = snapshot(merging, 1, "a1", "b1")
    assert late == Balance(rows_in=2, merged=0, superseded=0, stale=2, quarantined=0)
    assert merging.query("FROM raw_shop.orders") == before


def test_newest_of_waiting_snapshots_replaces(merging: InProcess) -> None:
    merging.land(rows=[row(1, "a1"), row(2, "b1")], generation_id=1)
    merging.land(rows=[row(1, "a2")], generation_id=2)
    (balance,) = merging.merge()
    assert (balance.rows_in, balance.merged, balance.superseded, balance.stale) == (3, 1, 1, 1)
    assert merging.live() == {1: "a2"}


def test_snapshot_without_generation_uses_its_job(merging: InProcess) -> None:
    snapshot(merging, 0, "a1", "b1")
    snapshot(merging, 0, "a2")
    assert merging.live() == {1: "a2"}


def test_new_epoch_replaces_any_generation(merging: InProcess) -> None:
    snapshot(merging, 7, "a7", "b7")
    snapshot(merging, 1, "a1", epoch=1)
    assert merging.live() == {1: "a1"}


def test_quarantined_row_keeps_its_last_values(merging: InProcess) -> None:
    snapshot(merging, 1, "a1", "b1", "c1")
    rows = [row(1, "a2"), row(2, "b2", amount=0.5)]
    merging.land(merging.put(parquet(rows, HALF)), generation_id=2)
    (balance,) = merging.merge()
    assert (balance.quarantined, balance.tombstoned_by_absence) == (1, 1)
    assert merging.live() == {1: "a2", 2: "b1"}


@pytest.mark.parametrize("bad", [b"no parquet", parquet([row(None, "x")])], ids=["file", "key"])
def test_unreadable_object_blocks_the_replacement(
    merging: InProcess, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot(merging, 1, "a1", "b1")
    merging.land(merging.put(parquet([row(1, "a2")])), merging.put(bad, part=1), generation_id=2)
    with caplog.at_level(logging.ERROR):
        (balance,) = merging.merge()
    assert balance.tombstoned_by_absence == 0
    assert merging.live() == {1: "a2", 2: "b1"}
    assert "merge.replacement_blocked: the newest snapshot of shop.orders can not replace" in caplog.text
    snapshot(merging, 3, "a3")
    assert merging.live() == {1: "a3"}, "the next whole snapshot replaces"


def test_snapshot_of_a_failed_sync_is_left_out(merging: InProcess) -> None:
    snapshot(merging, 1, "a1", "b1")
    snapshot(merging, 2, "a2", outcome="failed")
    assert merging.live() == {1: "a1", 2: "b1"}
    assert merging.query("SELECT reason FROM ops.quarantine") == [("generation.incomplete",)]


def test_deletes_ignored_leaves_absent_keys_alone() -> None:
    merging = InProcess(contract(mode="overwrite", order=[], deletes="ignore"))
    snapshot(merging, 1, "a1", "b1")
    snapshot(merging, 2, "a2")
    assert merging.live() == {1: "a2", 2: "b1"}


def test_missing_replaced_object_is_superseded(merging: InProcess) -> None:
    gone = merging.put(parquet([row(1, "a1"), row(2, "b1")]))
    merging.land(gone, generation_id=1)
    merging.land(rows=[row(1, "a2")], generation_id=2)
    merging.lake.delete(gone.name)
    assert merging.merge() == [Balance(rows_in=3, merged=1, superseded=2, stale=0, quarantined=0)]
    assert merging.query("SELECT count(*) FROM ops.ledger_objects") == [(2,)]
    assert merging.merge() == []


@pytest.mark.parametrize("mode", ["overwrite", "cdc"])
def test_missing_object_quarantines_its_manifest(mode: str) -> None:
    merging = InProcess(contract(mode=mode, order=["_ab_cdc_lsn"]))
    present, missing = merging.put(parquet([row(1, "a1")]), part=0), merging.put(parquet([row(2, "b1")]), part=1)
    merging.land(present, missing)
    merging.lake.delete(missing.name)
    assert merging.merge() == [Balance(rows_in=2, merged=0, superseded=0, stale=0, quarantined=2)]
    reasons = merging.query("SELECT reason, object FROM ops.quarantine ORDER BY object")
    assert reasons == [("manifest.broken", present.name), ("file.missing", missing.name)]
    merging.land(rows=[row(3, "c2")])
    merging.merge()
    assert merging.live() == {3: "c2"}


def test_rows_without_a_key_are_replaced_too() -> None:
    merging = InProcess(contract(mode="overwrite", key="position", order=[]))
    snapshot(merging, 1, "a1", "b1")
    assert snapshot(merging, 2, "c2").tombstoned_by_absence == 2
    assert merging.query("SELECT name FROM raw_shop.orders_live") == [("c2",)]
