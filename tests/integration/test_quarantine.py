"""Rows and objects in quarantine are named and counted; a redrive merges them after a fix."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_job.redrive import Redriven, redrive
from millrace.domain.errors import FileRejected
from tests.support.in_process import InProcess
from tests.support.merging import NOON, PARQUET, contract, parquet, upsert

HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))
WIDE = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, "amount": {"type": "float64"}}


def redrive_again(merging: InProcess, **options: Any) -> Redriven:
    return redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON, **options)


def half_quarantined(**changes: Any) -> InProcess:
    """Return one merged file with one row of three in quarantine, and one unreadable file."""
    merging = InProcess(contract(**changes))
    rows = [upsert(1, 10), upsert(2, 11) | {"amount": 0.5}, upsert(1, 12)]
    merging.land(merging.put(parquet(rows, HALF)), merging.put(b"no parquet", part=1))
    merging.merge()
    return merging


def test_quarantined_rows_have_reason_and_origin() -> None:
    merging = half_quarantined()
    files = {o.name.rsplit("/", 1)[1]: o.name for o in merging.lake.list("_quarantine/shop/orders/")}
    assert sorted(files) == ["files-00001.parquet", "rows-00000.parquet"]
    (file,), (row,) = (pq.read_table(io.BytesIO(merging.lake.read(files[n]))).to_pylist() for n in sorted(files))
    assert (file["_quarantine_reason"], file["_quarantine_row"], file["_quarantine_rows"]) == (
        "file.unreadable",
        None,
        1,
    )
    assert (row["_quarantine_reason"], row["_quarantine_row"], row["amount"], row["id"]) == ("row.type", 1, 0.5, 2)
    assert row["_quarantine_generation"] > 0
    table = merging.query('SELECT reason, generation > 0, "row", "rows", attempts FROM ops.quarantine ORDER BY object')
    assert table == [("row.type", True, 1, 1, 1), ("file.unreadable", True, None, 1, 1)]


def test_quarantine_says_what_is_wrong_and_what_to_do() -> None:
    merging = half_quarantined()
    repair = "correct the row at the source, or correct sources/shop.yaml, then run `millrace redrive shop.orders`"
    row, file = merging.query("SELECT detail FROM ops.quarantine ORDER BY object")
    assert row == (f"amount is 0.5 (double), which does not fit int64 without loss; {repair}",)
    assert file[0].endswith("; write the object again, then run `millrace redrive shop.orders`")
    assert [o.detail for o in merging.warehouse.quarantined_objects(merging.contract)] == [row[0], file[0]]


def test_redrive_after_a_contract_fix_merges_once() -> None:
    merging = half_quarantined()
    merging.contract = contract(columns=WIDE)
    assert redrive_again(merging) == Redriven(admitted=2, repaired=0, exhausted=())
    assert redrive_again(merging) == Redriven(admitted=0, repaired=0, exhausted=()), "they wait already"
    (balance,) = merging.merge()
    assert (balance.rows_in, balance.merged, balance.stale, balance.superseded, balance.quarantined) == (4, 1, 1, 1, 1)
    assert merging.live() == {1: "v12", 2: "v11"}
    assert merging.merge() == []
    assert [o.reasons for o in merging.warehouse.quarantined_objects(merging.contract)] == ["file.unreadable"]
    assert merging.query("SELECT kind, count(*) FROM ops.ledger GROUP BY kind ORDER BY 1") == [
        ("merged", 2),
        ("redriven", 2),
    ]
    again = "SELECT rows_in, quarantined FROM ops.ledger WHERE kind = 'redriven' ORDER BY 1"
    assert merging.query(again) == [(1, 1), (3, 1)]


def test_repaired_object_wins_as_new_generation() -> None:
    merging = half_quarantined()
    name = next(o.object for o in merging.warehouse.quarantined_objects(merging.contract) if o.reasons == "row.type")
    repaired = [upsert(1, 10), upsert(2, 11) | {"amount": 5.0}, upsert(1, 12, name="repaired")]
    merging.lake.write(name, parquet(repaired, HALF))
    assert redrive_again(merging, objects=[name]) == Redriven(admitted=0, repaired=1, exhausted=())
    assert redrive_again(merging, objects=[name]).repaired == 0
    (balance,) = merging.merge()
    assert balance.quarantined == 0
    assert merging.live() == {1: "repaired", 2: "v11"}
    assert [o.reasons for o in merging.warehouse.quarantined_objects(merging.contract)] == ["file.unreadable"]


def test_redrive_does_not_double_keyless_rows() -> None:
    merging = half_quarantined(key="position", mode="append", order=[])
    merging.contract = contract(key="position", mode="append", order=[], columns=WIDE)
    redrive_again(merging)
    (balance,) = merging.merge()
    assert (balance.merged, balance.stale, balance.quarantined) == (1, 2, 1)
    assert merging.query("SELECT count(*), count(DISTINCT _version) FROM raw_shop.orders") == [(3, 3)]


def test_redriven_snapshot_replaces_when_readable() -> None:
    merging = InProcess(contract(mode="overwrite", order=[]))
    merging.land(rows=[upsert(1, 1, "a1"), upsert(2, 1, "b1"), upsert(3, 1, "c1")], generation_id=1)
    merging.merge()
    bad = merging.put(b"no parquet", part=1)
    merging.land(
        merging.put(parquet([upsert(1, 1, "a2"), upsert(2, 1, "b2") | {"amount": 0.5}], HALF)), bad, generation_id=2
    )
    assert merging.merge()[0].tombstoned_by_absence == 0
    merging.lake.write(bad.name, parquet([upsert(4, 1, "d2")]))
    assert redrive_again(merging) == Redriven(admitted=1, repaired=1, exhausted=())
    assert sum(b.tombstoned_by_absence for b in merging.merge()) == 1
    assert merging.live() == {1: "a2", 2: "b1", 4: "d2"}


def test_object_is_redriven_up_to_the_limit() -> None:
    merging = half_quarantined()
    for attempt in (2, 3):
        assert redrive_again(merging, max_attempts=3).admitted == 2
        merging.merge()
        assert merging.query("SELECT max(attempts) FROM ops.quarantine") == [(attempt,)]
    assert len(redrive_again(merging, max_attempts=3).exhausted) == 2
    assert merging.merge() == []


def test_old_quarantined_object_is_still_found() -> None:
    merging = half_quarantined()
    for _ in range(24 * 9):
        merging.jobs += 1
    merging.land(rows=[upsert(9, 99)])
    merging.merge()
    merging.contract = contract(columns=WIDE)
    assert redrive_again(merging).admitted == 2
    assert merging.merge()[0].merged == 1


def test_object_not_in_quarantine_is_named() -> None:
    merging = half_quarantined()
    with pytest.raises(FileRejected, match=r"shop\.orders: not in quarantine: raw/x"):
        redrive_again(merging, objects=["raw/x"])
