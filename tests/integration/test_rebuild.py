"""A mended object's rows replace its older ones, and a lost warehouse is rebuilt from the lake to the same rows."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from beam_job import erase
from beam_job.redrive import redrive
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.landing import LandedObject
from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess, MemoryWarehouse
from tests.support.merging import NOON, PARQUET, Merging, contract, delete, parquet, upsert

HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))
KINDS: dict[str, dict[str, Any]] = {
    "cdc": {},
    "append": {"mode": "append"},
    "position": {"mode": "append", "key": "position", "order": []},
    "overwrite": {"mode": "overwrite", "order": []},
    "overwrite by position": {"mode": "overwrite", "key": "position", "order": []},
}
BAD = {"amount": 0.5}


def live(merging: InProcess) -> list[tuple[Any, ...]]:
    return sorted(merging.query("SELECT id, name, amount, _object FROM raw_shop.orders_live"), key=repr)


def names_of(merging: InProcess) -> list[str]:
    return sorted(name for (name,) in merging.query("SELECT name FROM raw_shop.orders_live"))


def mend(merging: Merging, landed: LandedObject, *rows: dict[str, Any]) -> None:
    """Rewrite an object whole, and redrive it."""
    merging.lake.write(landed.name, parquet(list(rows), HALF))
    assert redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON).repaired == 1


def rebuild(merging: InProcess, max_files: int) -> None:
    """Merge everything in the lake into an empty warehouse."""
    merging.warehouse = MemoryWarehouse()
    merging.limits = merging.limits.__class__(max_files=max_files)
    merging.merge()


def by_position(**changes: Any) -> tuple[InProcess, LandedObject]:
    """Return a stream without a key, with two merged rows and a row in quarantine of one object."""
    merging = InProcess(contract(**{"mode": "append", "key": "position", "order": []} | changes))
    landed = merging.put(parquet([upsert(1, 10), upsert(2, 20), upsert(3, 30) | BAD], HALF))
    merging.land(landed, generation_id=1)
    merging.merge()
    return merging, landed


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_mended_object_replaces_its_keyless_rows(mode: str) -> None:
    merging, landed = by_position(mode=mode)
    mend(merging, landed, upsert(1, 10), upsert(2, 21), upsert(3, 30))
    assert merging.merge() == [
        Balance(rows_in=3, merged=3, superseded=0, stale=0, quarantined=0, tombstoned_by_absence=2)
    ]
    assert names_of(merging) == ["v10", "v21", "v30"]


def test_mended_object_replaces_rows_on_each_engine(engine: Engine) -> None:
    merging = OnEngine(engine, contract(mode="append", key="position", order=[]))
    landed = merging.put(parquet([upsert(1, 10), upsert(2, 20), upsert(3, 30) | BAD], HALF))
    merging.land(landed)
    merging.merge()
    mend(merging, landed, upsert(1, 10), upsert(2, 21), upsert(3, 30))
    assert merging.merge() == [
        Balance(rows_in=3, merged=3, superseded=0, stale=0, quarantined=0, tombstoned_by_absence=2)
    ]
    live = "SELECT name FROM {raw}.orders WHERE _delete_version IS NULL OR _delete_version < _version ORDER BY name"
    assert merging.query(live) == [("v10",), ("v21",), ("v30",)]


def test_rejected_mended_object_keeps_older_rows() -> None:
    merging, landed = by_position()
    merging.lake.write(landed.name, b"no parquet")
    redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
    (balance,) = merging.merge()
    assert (balance.quarantined, balance.tombstoned_by_absence) == (1, 0)
    assert names_of(merging) == ["v10", "v20"]
    mend(merging, landed, upsert(1, 10))
    (balance,) = merging.merge()
    assert balance.tombstoned_by_absence == 2
    assert names_of(merging) == ["v10"]


def test_older_generation_never_comes_back() -> None:
    merging = InProcess(contract(mode="append", key="position", order=[]))
    old = merging.put(parquet([upsert(1, 1), upsert(2, 2)]))
    data = merging.lake.read(old.name)
    new = merging.put(parquet([upsert(1, 11)]))
    merging.land(new)
    merging.merge()
    merging.lake.restore(old.name, old.generation, data)  # type: ignore[attr-defined]
    merging.land(old)
    assert merging.merge() == [Balance(rows_in=2, merged=0, superseded=0, stale=2, quarantined=0)]
    assert names_of(merging) == ["v11"]


def test_object_rewritten_before_its_merge_counts_once() -> None:
    merging = InProcess(contract())
    old = merging.put(parquet([upsert(1, 1)]), job=1)
    other = merging.put(parquet([upsert(5, 5)]), job=1, part=1)
    merging.land(old, other)
    new = merging.put(parquet([upsert(1, 2)]), job=1)
    merging.land(new)
    assert merging.merge() == [Balance(rows_in=3, merged=2, superseded=1, stale=0, quarantined=0)]
    assert merging.live() == {1: "v2", 5: "v5"}


def test_vanished_object_spoils_its_manifest_alone() -> None:
    merging = InProcess(contract())
    gone = merging.put(parquet([upsert(1, 1)]), job=7)
    merging.land(gone, merging.put(parquet([upsert(2, 2)]), job=7, part=1), job_id=7)
    merging.land(merging.put(parquet([upsert(3, 3)]), job=7, part=2), job_id=7)
    merging.lake.delete(gone.name)
    (balance,) = merging.merge()
    assert (balance.merged, balance.quarantined) == (1, 2)
    assert merging.live() == {3: "v3"}


@pytest.mark.parametrize("max_files", [1, 2, 100])
@pytest.mark.parametrize("kind", list(KINDS))
def test_lost_warehouse_is_rebuilt(kind: str, max_files: int) -> None:
    merging = InProcess(contract(**KINDS[kind]))
    snapshots = merging.contract.mode == "overwrite"
    merging.land(rows=[upsert(1, 1), upsert(2, 2), upsert(3, 3)], generation_id=1)
    merging.merge()
    landed = merging.put(parquet([upsert(1, 11), upsert(2, 12) | BAD, upsert(4, 14)], HALF))
    merging.land(landed, merging.put(parquet([upsert(5, 15)]), part=1), generation_id=2 if snapshots else 1)
    merging.merge()
    mend(merging, landed, upsert(1, 11), upsert(2, 12), upsert(4, 14), upsert(6, 16))
    merging.merge()
    if merging.contract.mode == "cdc":
        merging.land(rows=[delete(3, 30)])
    elif not snapshots:
        merging.land(rows=[upsert(7, 31)])
    merging.merge()
    if merging.contract.key:
        erase.request(merging.lake, merging.contract, [{"id": 5}], "asked for", NOON)
        erase.erase(merging.lake, merging.warehouse, merging.contract, NOON)
    before = live(merging)
    assert len(before) > 2
    rebuild(merging, max_files)
    assert live(merging) == before
    assert merging.warehouse.quarantined_objects(merging.contract) == []


def test_rebuild_keeps_the_newest_of_two_mends() -> None:
    merging, landed = by_position()
    mend(merging, landed, upsert(1, 10), upsert(3, 31) | BAD)
    merging.merge()
    mend(merging, landed, upsert(1, 12))
    merging.merge()
    assert names_of(merging) == ["v12"]
    rebuild(merging, 1)
    assert names_of(merging) == ["v12"]
    path = names.manifest_path("shop", "orders", NOON + timedelta(hours=1), "c", 1)
    assert path in [info.name for info in merging.lake.list("_manifests/")]
