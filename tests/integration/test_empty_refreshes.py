"""Refreshes that remove records and find none: the table is emptied, or nothing changes by contract."""

import itertools
import logging
from datetime import timedelta
from typing import Any

import pytest

from millrace.airbyte.job import parse_job
from millrace.contracts.source import SourceContract
from millrace.domain import names
from millrace.domain.batch import Balance
from tests.integration.test_landing import Land, WithMetadata, land, manifest, source, sync  # noqa: F401  a fixture
from tests.integration.test_refresh import land as land_rows
from tests.integration.test_snapshots import cuts
from tests.support.engines import Engine, OnEngine
from tests.support.in_process import InProcess, MemoryWarehouse
from tests.support.merging import NOON, Merging, contract, parquet, upsert

EMPTY = Balance(rows_in=0, merged=0, superseded=0, stale=0, quarantined=0)


def land_empty(merging: Merging, generation: int, **options: Any) -> str:
    """Land a refresh that removed the older generations and found no row."""
    return merging.land(generation_id=generation, older_removed=True, **options)


@pytest.fixture
def merging() -> InProcess:
    return InProcess(contract())


@pytest.mark.parametrize("mode", ["cdc", "append"])
def test_empty_refresh_empties_on_each_engine(mode: str, engine: Engine) -> None:
    merging = OnEngine(engine, contract(mode=mode))
    land_rows(merging, 1, upsert(1, 10, "a"), upsert(2, 11, "b"))
    merging.merge()
    land_empty(merging, 2)
    assert merging.merge() == [EMPTY.model_copy(update={"tombstoned_by_absence": 2})]
    assert merging.live() == {}
    assert merging.merge() == []
    land_rows(merging, 1, upsert(3, 99, "late"))
    land_rows(merging, 2, upsert(1, 1, "a2"))
    assert merging.merge()[0].stale == 1
    assert merging.live() == {1: "a2"}


@pytest.mark.parametrize("batches", [[[1, 2, 3]], [[3], [2], [1]], [[2], [1, 3]]], ids=str)
def test_empty_refreshes_merge_alike_however_cut(batches: list[list[int]]) -> None:
    check_cut(batches)


@pytest.mark.slow
@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=str)
def test_empty_refreshes_merge_alike_in_any_order(order: tuple[int, ...]) -> None:
    for batches in cuts(order):
        check_cut(batches)


def check_cut(batches: list[list[int]]) -> None:
    """Merge three generations, of which the second is empty, and compare the live rows after each batch."""
    merging, landed = InProcess(contract()), set[int]()
    for batch in batches:
        for generation in batch:
            merging.jobs = generation - 1
            if generation == 2:
                land_empty(merging, generation)
            else:
                land_rows(merging, generation, upsert(generation, 10 - generation, f"v{generation}"))
        landed |= set(batch)
        merging.merge()
        newest = max(landed)
        assert merging.live() == ({} if newest == 2 else {newest: f"v{newest}"}), batches


def test_empty_refresh_is_found_by_a_rebuild(merging: InProcess) -> None:
    land_rows(merging, 1, upsert(1, 10, "a"))
    merging.merge()
    land_empty(merging, 2, epoch=1)
    land_empty(merging, 2)
    merging.merge()
    merging.warehouse = MemoryWarehouse()
    merging.merge()
    assert merging.live() == {}
    assert merging.merge() == []


@pytest.mark.parametrize("changes", [{"empty_snapshot": "refuse"}, {"refresh": "retain"}, {"deletes": "ignore"}])
def test_refused_empty_refresh_changes_nothing(changes: dict[str, str]) -> None:
    merging = InProcess(contract(**changes))
    land_rows(merging, 1, upsert(1, 10, "a"))
    merging.merge()
    land_empty(merging, 2)
    assert merging.merge() == []
    assert merging.live() == {1: "a"}


@pytest.mark.parametrize("kind", ["sync", "refresh", "clear", None])
def test_airbyte_names_the_kind_of_a_job(kind: str | None) -> None:
    answer = {"jobId": 1, "status": "succeeded", "createdAt": 1} | ({"jobType": kind} if kind else {})
    assert parse_job(answer).refreshes == (kind == "refresh")


def refreshed(lake: WithMetadata, land: Land, contracts: SourceContract, *, kept: bool = False, **changes: Any) -> Any:  # noqa: F811
    """Land a sync of generation 4, and after it one without rows, before which Airbyte deleted the object."""
    lake.metadata = {"ab-generation-id": "4"}
    name = f"{names.sync_prefix('shop', 'orders', 1)}0.parquet"
    lake.write(name, parquet([upsert(1, 1)]))
    land(lake, sync(job_id=1, rows=1), contracts)
    if not kept:
        lake.delete(name)
    fields = {"job_id": 2, "created_at": NOON + timedelta(hours=1), "rows": 0, "refreshes": True} | changes
    return land(lake, sync(**fields), contracts)["orders"]


@pytest.mark.parametrize("mode", ["cdc", "append"])
def test_empty_refresh_lands_with_the_next_number(mode: str, land: Land) -> None:  # noqa: F811
    lake = WithMetadata()
    landed = manifest(lake, refreshed(lake, land, source(orders=mode)))
    assert (landed.objects, landed.generation_id, landed.older_removed, landed.epoch) == ((), 5, True, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"refreshes": False},
        {"kept": True},
        {"outcome": "failed"},
        {"rows": None},
        {"sync_modes": {"items": "incremental_append"}},
        {"connection_id": "d"},
    ],
    ids=str,
)
def test_unproven_empty_refresh_is_not_merged(changes: dict[str, Any], land: Land) -> None:  # noqa: F811
    lake = WithMetadata()
    assert refreshed(lake, land, source(), **changes).manifest.startswith(names.EMPTY_MANIFESTS)


@pytest.mark.parametrize("refreshes", [True, False])
def test_refused_empty_refresh_is_reported(
    refreshes: bool,
    land: Land,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    contracts = source().model_copy(update={"streams": {"orders": contract(empty_snapshot="refuse")}})
    lake = WithMetadata()
    with caplog.at_level(logging.WARNING):
        landed = refreshed(lake, land, contracts, refreshes=refreshes)
    assert landed.manifest.startswith(names.EMPTY_MANIFESTS)
    assert ("landing.empty_snapshot: sync 2 read no rows of shop.orders" in caplog.text) == refreshes
