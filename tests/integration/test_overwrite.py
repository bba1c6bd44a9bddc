"""Overwrite streams: the newest complete snapshot replaces the table's rows, and nothing less does."""

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


def snapshot(merging: InProcess, generation: int, *names: str, **more: Any) -> Balance:
    """Keys 1, 2, … with these names, merged."""
    rows = [row(id, name) for id, name in enumerate(names, 1) if name]
    merging.land(rows=rows, generation_id=generation, **more)
    return merging.merge()[-1]


def test_the_newest_snapshot_replaces_the_rows_and_absent_keys_are_buried(merging: InProcess) -> None:
    snapshot(merging, 1, "a1", "b1", "c1")
    balance = snapshot(merging, 2, "a2", "", "c2")
    assert balance == Balance(rows_in=2, merged=2, superseded=0, stale=0, quarantined=0, tombstoned_by_absence=1)
    assert merging.live() == {1: "a2", 3: "c2"}
    assert merging.query("SELECT name, _deleted_at IS NOT NULL FROM raw_shop.orders WHERE id = 2") == [("b1", True)]
    assert snapshot(merging, 3, "a3", "b3").tombstoned_by_absence == 1
    assert merging.live() == {1: "a3", 2: "b3"}


def test_an_older_snapshot_that_comes_late_changes_nothing(merging: InProcess) -> None:
    snapshot(merging, 2, "a2")
    before = merging.query("FROM raw_shop.orders")
    late = snapshot(merging, 1, "a1", "b1")
    assert late == Balance(rows_in=2, merged=0, superseded=0, stale=2, quarantined=0)
    assert merging.query("FROM raw_shop.orders") == before


def test_snapshots_that_wait_together_are_replaced_by_the_newest(merging: InProcess) -> None:
    merging.land(rows=[row(1, "a1"), row(2, "b1")], generation_id=1)
    merging.land(rows=[row(1, "a2")], generation_id=2)
    (balance,) = merging.merge()
    assert (balance.rows_in, balance.merged, balance.superseded, balance.stale) == (3, 1, 1, 1)
    assert merging.live() == {1: "a2"}


def test_a_snapshot_without_a_generation_is_one_by_its_job(merging: InProcess) -> None:
    snapshot(merging, 0, "a1", "b1")
    snapshot(merging, 0, "a2")
    assert merging.live() == {1: "a2"}


def test_a_new_epoch_replaces_whatever_its_generation_number(merging: InProcess) -> None:
    snapshot(merging, 7, "a7", "b7")
    snapshot(merging, 1, "a1", epoch=1)
    assert merging.live() == {1: "a1"}


def test_a_refused_row_is_not_absent_and_keeps_its_last_good_values(merging: InProcess) -> None:
    snapshot(merging, 1, "a1", "b1", "c1")
    rows = [row(1, "a2"), row(2, "b2", amount=0.5)]
    merging.land(merging.put(parquet(rows, HALF)), generation_id=2)
    (balance,) = merging.merge()
    assert (balance.quarantined, balance.tombstoned_by_absence) == (1, 1)
    assert merging.live() == {1: "a2", 2: "b1"}


@pytest.mark.parametrize("bad", [b"no parquet", parquet([row(None, "x")])], ids=["file", "key"])
def test_what_can_not_be_read_blocks_the_replacement_and_says_so(
    merging: InProcess, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot(merging, 1, "a1", "b1")
    merging.land(merging.put(parquet([row(1, "a2")])), merging.put(bad, part=1), generation_id=2)
    with caplog.at_level(logging.ERROR):
        (balance,) = merging.merge()
    assert balance.tombstoned_by_absence == 0
    assert merging.live() == {1: "a2", 2: "b1"}
    assert "merge.replacement_blocked: the newest snapshot of shop.orders can't replace" in caplog.text
    snapshot(merging, 3, "a3")
    assert merging.live() == {1: "a3"}, "the next whole snapshot replaces"


def test_a_snapshot_of_a_sync_that_failed_is_kept_out(merging: InProcess) -> None:
    snapshot(merging, 1, "a1", "b1")
    snapshot(merging, 2, "a2", outcome="failed")
    assert merging.live() == {1: "a1", 2: "b1"}
    assert merging.query("SELECT reason FROM ops.quarantine") == [("generation.incomplete",)]


def test_deletes_ignored_leaves_absent_keys_alone() -> None:
    merging = InProcess(contract(mode="overwrite", order=[], deletes="ignore"))
    snapshot(merging, 1, "a1", "b1")
    snapshot(merging, 2, "a2")
    assert merging.live() == {1: "a2", 2: "b1"}


def test_an_object_that_a_newer_snapshot_replaced_is_superseded_when_it_is_gone(merging: InProcess) -> None:
    gone = merging.put(parquet([row(1, "a1"), row(2, "b1")]))
    merging.land(gone, generation_id=1)
    merging.land(rows=[row(1, "a2")], generation_id=2)
    merging.lake.delete(gone.name)
    assert merging.merge() == [Balance(rows_in=3, merged=1, superseded=2, stale=0, quarantined=0)]
    assert merging.query("SELECT count(*) FROM ops.ledger_objects") == [(2,)]
    assert merging.merge() == []


@pytest.mark.parametrize("mode", ["overwrite", "cdc"])
def test_any_other_object_that_is_gone_puts_its_manifest_in_quarantine_and_the_stream_goes_on(mode: str) -> None:
    merging = InProcess(contract(mode=mode, order=["_ab_cdc_lsn"]))
    kept, gone = merging.put(parquet([row(1, "a1")]), part=0), merging.put(parquet([row(2, "b1")]), part=1)
    merging.land(kept, gone)
    merging.lake.delete(gone.name)
    assert merging.merge() == [Balance(rows_in=2, merged=0, superseded=0, stale=0, quarantined=2)]
    reasons = merging.query("SELECT reason, object FROM ops.quarantine ORDER BY object")
    assert reasons == [("manifest.broken", kept.name), ("file.missing", gone.name)]
    merging.land(rows=[row(3, "c2")])
    merging.merge()
    assert merging.live() == {3: "c2"}


def test_rows_without_a_key_are_replaced_too() -> None:
    merging = InProcess(contract(mode="overwrite", key="position", order=[]))
    snapshot(merging, 1, "a1", "b1")
    assert snapshot(merging, 2, "c2").tombstoned_by_absence == 2
    assert merging.query("SELECT name FROM raw_shop.orders_live") == [("c2",)]
