"""Quarantine keeps what is refused, named and countable; a redrive lets it in again once it is mended."""

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


def again(merging: InProcess, **more: Any) -> Redriven:
    return redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON, **more)


def half_refused(**changes: Any) -> InProcess:
    """One merged file of which one of three rows was refused, and one file that is no file."""
    merging = InProcess(contract(**changes))
    rows = [upsert(1, 10), upsert(2, 11) | {"amount": 0.5}, upsert(1, 12)]
    merging.land(merging.put(parquet(rows, HALF)), merging.put(b"no parquet", part=1))
    merging.merge()
    return merging


def test_rows_and_files_are_kept_beside_the_lake_with_reason_object_generation_and_place() -> None:
    merging = half_refused()
    found = {o.name.rsplit("/", 1)[1]: o.name for o in merging.lake.list("_quarantine/shop/orders/")}
    assert sorted(found) == ["files-00001.parquet", "rows-00000.parquet"]
    (file,), (row,) = (pq.read_table(io.BytesIO(merging.lake.read(found[n]))).to_pylist() for n in sorted(found))
    assert (file["_quarantine_reason"], file["_quarantine_row"], file["_quarantine_rows"]) == (
        "file.unreadable",
        None,
        1,
    )
    assert (row["_quarantine_reason"], row["_quarantine_row"], row["amount"], row["id"]) == ("row.type", 1, 0.5, 2)
    assert row["_quarantine_generation"] > 0
    table = merging.query('SELECT reason, generation > 0, "row", "rows", attempts FROM ops.quarantine ORDER BY object')
    assert table == [("row.type", True, 1, 1, 1), ("file.unreadable", True, None, 1, 1)]


def test_a_redrive_after_the_contract_was_mended_merges_what_was_refused_and_nothing_twice() -> None:
    merging = half_refused()
    merging.contract = contract(columns=WIDE)
    assert again(merging) == Redriven(admitted=2, mended=0, exhausted=())
    assert again(merging) == Redriven(admitted=0, mended=0, exhausted=()), "they wait already"
    (balance,) = merging.merge()
    assert (balance.rows_in, balance.merged, balance.stale, balance.superseded, balance.quarantined) == (4, 1, 1, 1, 1)
    assert merging.live() == {1: "v12", 2: "v11"}
    assert merging.merge() == []
    assert [o.reasons for o in merging.warehouse.refused(merging.contract)] == ["file.unreadable"]
    assert merging.query("SELECT kind, count(*) FROM ops.ledger GROUP BY kind ORDER BY 1") == [
        ("merged", 2),
        ("redriven", 2),
    ]


def test_an_object_that_was_mended_is_merged_in_its_new_generation_and_wins_over_the_old() -> None:
    merging = half_refused()
    name = next(o.object for o in merging.warehouse.refused(merging.contract) if o.reasons == "row.type")
    mended = [upsert(1, 10), upsert(2, 11) | {"amount": 5.0}, upsert(1, 12, name="mended")]
    merging.lake.write(name, parquet(mended, HALF))
    assert again(merging, objects=[name]) == Redriven(admitted=0, mended=1, exhausted=())
    assert again(merging, objects=[name]).mended == 0
    (balance,) = merging.merge()
    assert balance.quarantined == 0
    assert merging.live() == {1: "mended", 2: "v11"}
    assert [o.reasons for o in merging.warehouse.refused(merging.contract)] == ["file.unreadable"]


def test_rows_without_a_key_are_not_doubled_by_a_redrive() -> None:
    merging = half_refused(key="position", mode="append", order=[])
    merging.contract = contract(key="position", mode="append", order=[], columns=WIDE)
    again(merging)
    (balance,) = merging.merge()
    assert (balance.merged, balance.stale, balance.quarantined) == (1, 2, 1)
    assert merging.query("SELECT count(*), count(DISTINCT _version) FROM raw_shop.orders") == [(3, 3)]


def test_a_redriven_snapshot_replaces_once_all_of_it_can_be_read() -> None:
    merging = InProcess(contract(mode="overwrite", order=[]))
    merging.land(rows=[upsert(1, 1, "a1"), upsert(2, 1, "b1"), upsert(3, 1, "c1")], generation_id=1)
    merging.merge()
    bad = merging.put(b"no parquet", part=1)
    merging.land(
        merging.put(parquet([upsert(1, 1, "a2"), upsert(2, 1, "b2") | {"amount": 0.5}], HALF)), bad, generation_id=2
    )
    assert merging.merge()[0].tombstoned_by_absence == 0
    merging.lake.write(bad.name, parquet([upsert(4, 1, "d2")]))
    assert again(merging) == Redriven(admitted=1, mended=1, exhausted=())
    assert sum(b.tombstoned_by_absence for b in merging.merge()) == 1
    assert merging.live() == {1: "a2", 2: "b1", 4: "d2"}


def test_an_object_is_let_in_so_often_and_no_more() -> None:
    merging = half_refused()
    for attempt in (2, 3):
        assert again(merging, max_attempts=3).admitted == 2
        merging.merge()
        assert merging.query("SELECT max(attempts) FROM ops.quarantine") == [(attempt,)]
    assert len(again(merging, max_attempts=3).exhausted) == 2
    assert merging.merge() == []


def test_an_old_object_is_found_though_much_newer_ones_were_merged() -> None:
    merging = half_refused()
    for _ in range(24 * 9):
        merging.jobs += 1
    merging.land(rows=[upsert(9, 99)])
    merging.merge()
    merging.contract = contract(columns=WIDE)
    assert again(merging).admitted == 2
    assert merging.merge()[0].merged == 1


def test_an_object_that_is_not_in_quarantine_is_named() -> None:
    merging = half_refused()
    with pytest.raises(FileRejected, match=r"shop\.orders: not in quarantine: raw/x"):
        again(merging, objects=["raw/x"])
