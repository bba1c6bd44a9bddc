"""Empty snapshots: a sync of an overwrite stream without rows empties the table, or nothing by contract."""

import itertools
import logging
from datetime import timedelta
from typing import Any

import pytest

from beam_job.batches import pending
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.status.streams import waiting
from millrace.status.types import Pending
from tests.integration.test_landing import Land, land, manifest, put, source, sync  # noqa: F401  a fixture
from tests.integration.test_snapshots import cuts
from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess, MemoryLake, MemoryWarehouse
from tests.support.merging import NOON, Merging, contract

EMPTY = Balance(rows_in=0, merged=0, superseded=0, stale=0, quarantined=0)


def snapshots_of(**changes: Any) -> StreamContract:
    return contract(mode="overwrite", order=[], **changes)


@pytest.fixture
def merging() -> InProcess:
    return InProcess(snapshots_of())


def land_snapshot(merging: Merging, generation: int, names_of: str = "", **options: Any) -> str:
    """Land a snapshot with a row for each letter; without letters an empty one, which has no object."""
    rows = [{"id": id, "name": name} for id, name in enumerate(names_of, 1)] if names_of else None
    return merging.land(rows=rows, generation_id=generation, **options)


def test_empty_snapshot_empties_on_each_engine(engine: Engine) -> None:
    merging = OnEngine(engine, snapshots_of())
    land_snapshot(merging, 1, "ab")
    merging.merge()
    path = land_snapshot(merging, 2)
    assert pending(merging.lake, merging.warehouse, merging.contract, now=NOON) == [path]
    assert merging.merge() == [EMPTY.model_copy(update={"tombstoned_by_absence": 2})]
    assert merging.live() == {}
    assert pending(merging.lake, merging.warehouse, merging.contract, now=NOON) == []
    assert merging.merge() == []
    land_snapshot(merging, 3, "x")
    merging.merge()
    assert merging.live() == {1: "x"}


@pytest.mark.parametrize("contents", [{1: "abc", 2: "", 3: "de"}, {1: "ab", 2: "c", 3: ""}], ids=str)
@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=str)
def test_empty_snapshots_merge_alike_however_cut(order: tuple[int, ...], contents: dict[int, str]) -> None:
    for batches in cuts(order):
        merging, landed = InProcess(snapshots_of()), set[int]()
        for batch in batches:
            for generation in batch:
                land_snapshot(merging, generation, contents[generation])
            landed |= set(batch)
            merging.merge()
            assert merging.live() == dict(enumerate(contents[max(landed)], 1)), batches
        assert merging.merge() == []


def test_first_snapshot_may_be_empty(merging: InProcess) -> None:
    land_snapshot(merging, 1)
    assert merging.merge() == [EMPTY]
    land_snapshot(merging, 2, "a")
    merging.merge()
    assert merging.live() == {1: "a"}


def test_status_does_not_wait_for_empty_snapshots(merging: InProcess) -> None:
    for generation, letters in ((1, "ab"), (2, "")):
        land_snapshot(merging, generation, letters)
    assert waiting(merging.lake, merging.contract, set(), NOON) == Pending(landings=1, files=1, rows=2)
    assert waiting(merging.lake, merging.contract, {1}, NOON) == Pending(landings=0, files=0, rows=0)


def test_two_empty_batches_have_their_own_ids(merging: InProcess) -> None:
    ids: set[str] = set()
    for generation in (1, 2):
        land_snapshot(merging, generation)
        assert merging.merge() == [EMPTY]
        ids |= {row[0] for row in merging.query("SELECT batch_id FROM ops.ledger")}
    merging.warehouse = MemoryWarehouse()
    assert merging.merge() == [EMPTY]
    ids |= {row[0] for row in merging.query("SELECT batch_id FROM ops.ledger")}
    assert len(ids) == 3


def test_rebuilt_table_is_empty_too(merging: InProcess) -> None:
    land_snapshot(merging, 1, "ab")
    merging.merge()
    land_snapshot(merging, 2)
    merging.merge()
    merging.warehouse = MemoryWarehouse()
    merging.merge()
    assert merging.live() == {}
    assert merging.warehouse.head(merging.contract).floor == f"{2:024x}"


def test_empty_snapshot_raises_the_connection_epoch(merging: InProcess) -> None:
    land_snapshot(merging, 7, "ab")
    land_snapshot(merging, 1, epoch=1)
    merging.merge()
    assert merging.live() == {}
    assert merging.warehouse.head(merging.contract).connection_epoch == 1


def test_rows_without_a_key_are_emptied_too() -> None:
    merging = InProcess(snapshots_of(key="position"))
    land_snapshot(merging, 1, "ab")
    merging.merge()
    land_snapshot(merging, 2)
    assert merging.merge()[0].tombstoned_by_absence == 2
    assert merging.query("SELECT name FROM raw_shop.orders_live") == []


@pytest.mark.parametrize("changes", [{"empty_snapshot": "refuse"}, {"deletes": "ignore"}], ids=str)
def test_refused_empty_snapshot_changes_nothing(changes: dict[str, str]) -> None:
    merging = InProcess(snapshots_of(**changes))
    land_snapshot(merging, 1, "ab")
    merging.merge()
    land_snapshot(merging, 2)
    assert merging.merge() == []
    assert merging.live() == {1: "a", 2: "b"}


def at(hour: int, **changes: Any) -> Any:
    """Return a sync of that hour, which is its job too."""
    return sync(job_id=hour, created_at=NOON + timedelta(hours=hour), **{"rows": 0} | changes)


def test_empty_snapshot_lands_with_the_next_number(land: Land) -> None:  # noqa: F811
    lake, contracts = MemoryLake(), source(orders="overwrite")
    first = land(lake, at(1), contracts)["orders"]
    assert first.manifest.startswith(names.MANIFESTS)
    assert (manifest(lake, first).objects, manifest(lake, first).generation_id) == ((), 1)
    assert land(lake, at(1), contracts)["orders"] == first, "twice equals once"
    assert manifest(lake, land(lake, at(2), contracts)["orders"]).generation_id == 2
    put(lake, folder="sync_id=3/0.parquet")
    full = land(lake, at(3, rows=1), contracts)["orders"]
    assert manifest(lake, full).generation_id == 0, "the lake has no metadata"
    assert manifest(lake, land(lake, at(4), contracts)["orders"]).generation_id == 0


@pytest.mark.parametrize(
    "changes",
    [{"rows": None}, {"sync_modes": {"items": "full_refresh_overwrite"}}],
    ids=["Airbyte reports no number", "Airbyte does not read the stream"],
)
def test_unproven_empty_snapshot_is_not_merged(changes: dict[str, Any], land: Land) -> None:  # noqa: F811
    lake = MemoryLake()
    landed = land(lake, at(1, **changes), source(orders="overwrite"))["orders"]
    assert landed.manifest.startswith(names.EMPTY_MANIFESTS)


def test_refused_empty_snapshot_is_reported(land: Land, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    refusing = snapshots_of(empty_snapshot="refuse")
    contracts = source().model_copy(update={"streams": {"orders": refusing}})
    with caplog.at_level(logging.WARNING):
        landed = land(MemoryLake(), at(1), contracts)["orders"]
    assert landed.manifest.startswith(names.EMPTY_MANIFESTS)
    assert "landing.empty_snapshot: sync 1 read no rows of shop.orders" in caplog.text
