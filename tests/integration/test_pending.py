"""Pending manifests are found whatever their dates are and whatever else is in their folder."""

import logging
from datetime import datetime, timedelta
from functools import partial

import pytest

from beam_job.batches import pending
from beam_job.redrive import redrive
from millrace.domain import names
from millrace.domain.errors import EventRefused
from millrace.domain.landing import LandedObject
from millrace.domain.sync import Sync
from tasks.ingest.sync_objects import claimed_by_namesakes, find_objects
from tests.support.in_process import InProcess
from tests.support.merging import NOON, contract, parquet, upsert

STRAYS = ["", "20260101/", "20260101/c.json", "notes.txt", "20260101/c-1.json.tmp"]


def land(merging: InProcess, day: datetime, *ids: int) -> str:
    """Write a sync whose job was created on a day."""
    landed = merging.put(parquet([upsert(id, 1) for id in ids]))
    source = merging.land(landed, job_created_at=day)
    path = names.manifest_path("shop", "orders", day, "c", merging.jobs)
    if path != source:
        merging.lake.write(path, merging.lake.read(source))
        merging.lake.delete(source)
    return path


def test_sync_dated_in_the_future_hides_no_other() -> None:
    merging = InProcess(contract())
    land(merging, NOON + timedelta(days=42), 1)
    merging.merge()
    path = land(merging, NOON, 2)
    assert pending(merging.lake, merging.warehouse, merging.contract, now=NOON) == [path]
    merging.merge()
    assert merging.live() == {1: "v1", 2: "v1"}


def test_head_in_the_future_is_healed() -> None:
    merging = InProcess(contract())
    land(merging, NOON, 1)
    merging.merge()
    merging.query("UPDATE ops.head__shop__orders SET oldest_pending_day = '20991231'")
    path = land(merging, NOON + timedelta(days=1), 2)
    assert pending(merging.lake, merging.warehouse, merging.contract, now=NOON) == [path]
    merging.merge()
    assert merging.live() == {1: "v1", 2: "v1"}
    assert merging.warehouse.head(merging.contract).oldest_pending_day == f"{NOON - timedelta(days=7):%Y%m%d}"


def test_slow_clock_hides_nothing() -> None:
    merging = InProcess(contract())
    land(merging, NOON, 1)
    merging.merge()
    assert merging.warehouse.head(merging.contract).oldest_pending_day <= f"{NOON - timedelta(days=7):%Y%m%d}"
    early = datetime(1971, 1, 1, tzinfo=NOON.tzinfo)
    path = land(merging, NOON, 2)
    assert pending(merging.lake, merging.warehouse, merging.contract, now=early) == [path]


@pytest.mark.parametrize("stray", STRAYS)
def test_stray_object_among_manifests_is_ignored(stray: str, caplog: pytest.LogCaptureFixture) -> None:
    merging = InProcess(contract())
    merging.lake.write(f"_manifests/shop/orders/{stray}", b"")
    path = land(merging, NOON, 1)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert pending(merging.lake, merging.warehouse, merging.contract, now=NOON, full_scan=True) == [path]
    assert caplog.text.count("manifest.stray") == 1
    assert f"_manifests/shop/orders/{stray} is not at the path of a manifest" in caplog.text
    merging.merge()
    assert merging.live() == {1: "v1"}
    assert redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON).admitted == 0


def test_manifest_that_is_not_json_is_named() -> None:
    merging = InProcess(contract())
    path = names.manifest_path("shop", "orders", NOON, "c", 1)
    merging.lake.write(path, b"")
    with pytest.raises(EventRefused, match=f"{path} is not a landing manifest"):
        merging.merge()


@pytest.mark.parametrize("name", ["", "read.json", "notes.json", "read-00000.json.tmp", "x/"])
def test_stray_object_among_staging_files_is_ignored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    merging = InProcess(contract())
    land(merging, NOON, 1)
    written = merging.lake.write

    def write(path: str, data: bytes, content_type: str = "") -> int:
        if path.startswith("_staging/"):
            written(f"{path.rsplit('/', 1)[0]}/{name}", b"")
        return written(path, data, content_type)

    monkeypatch.setattr(merging.lake, "write", write)
    merging.merge()
    assert merging.live() == {1: "v1"}
    assert [info.name for info in merging.lake.list("_staging/")] == []


def test_objects_of_an_earlier_namesake_are_left_out() -> None:
    merging = InProcess(contract(mode="overwrite", order=[]))
    merging.jobs = 6
    merging.land(rows=[upsert(1, 1)])
    new = merging.put(parquet([upsert(2, 1)]), job=7, part=1)
    sync = Sync(
        source="shop",
        connection_id="new",
        job_id=7,
        created_at=NOON + timedelta(days=3),
        ended_at=NOON + timedelta(days=3),
        outcome="succeeded",
        rows=1,
        sync_modes={"orders": "overwrite"},
    )

    def of(known: Sync) -> set[LandedObject]:
        claimed = partial(claimed_by_namesakes, merging.lake, sync=known)
        return set(find_objects(merging.lake, "shop", "orders", 7, claimed=claimed))

    assert of(sync) == {new}
    again = sync.model_copy(update={"connection_id": "c", "created_at": NOON + timedelta(hours=7)})
    assert len(of(again)) == 2, "a sync's own manifest hides nothing"
