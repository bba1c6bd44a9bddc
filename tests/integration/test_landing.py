"""The manifests of a sync: which objects they list, once, and in which order their rows are."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.contracts.source import SourceContract, parse_source
from millrace.domain import names
from millrace.domain.epochs import raised_connection
from millrace.domain.errors import ContractError, LandingIncomplete, ManifestConflict
from millrace.domain.landing import LandingManifest
from millrace.domain.sync import Landing, Sync
from millrace.lake.store import Lake
from tasks.ingest import await_landing
from tests.support.in_process import MemoryLake
from tests.support.merging import NOON, avro, contract, parquet, upsert
from tests.support.mortal import Fate, Killed, MortalLake

SOURCE = "source: shop\nconnector: {image: i, version: '1'}\nstreams: {}\n"
Land = Callable[..., dict[str, Landing]]


def source(epoch: int = 0, **modes: str) -> SourceContract:
    """Return the source `shop` with streams in these modes."""
    streams = {name: contract(stream=name, mode=mode) for name, mode in (modes or {"orders": "cdc"}).items()}
    return parse_source(f"{SOURCE}epoch: {epoch}\n", "shop.yaml").model_copy(update={"streams": streams})


def sync(**changes: Any) -> Sync:
    fields = {"source": "shop", "connection_id": "c", "job_id": 7, "created_at": NOON, "outcome": "succeeded"} | changes
    return Sync.model_validate(fields)


@pytest.fixture
def land(monkeypatch: pytest.MonkeyPatch) -> Land:
    """Return a function that runs the task on a lake."""

    def run(lake: Any, ended: Sync, contracts: SourceContract | None = None) -> dict[str, Landing]:
        monkeypatch.setattr(await_landing, "open_lake", lambda: lake)
        monkeypatch.setattr(await_landing, "airbyte_block", lambda: SimpleNamespace(landing_timeout_s=0.3))
        monkeypatch.setattr(await_landing, "source_contract", lambda name: contracts or source())
        return {landing.stream: landing for landing in await_landing.await_landing.fn(ended)}

    return run


def put(lake: Any, stream: str = "orders", *, rows: int = 1, folder: str = "sync_id=7/0.parquet") -> str:
    """Write one object with some rows, and return its name."""
    name = f"{names.raw_prefix('shop', stream)}{folder}"
    data = [upsert(number, number) for number in range(rows)]
    lake.write(name, avro(data) if ".avro" in name else parquet(data))
    return name


def manifest(lake: Any, landing: Landing) -> LandingManifest:
    return LandingManifest.model_validate_json(lake.read(landing.manifest))


def manifests(lake: Any) -> list[str]:
    return [o.name for prefix in (names.MANIFESTS, names.EMPTY_MANIFESTS) for o in lake.list(prefix)]


@pytest.mark.parametrize("epoch", [0, 3])
def test_landing_has_the_epoch_of_its_source(epoch: int, land: Land) -> None:
    lake = MemoryLake()
    put(lake)
    assert manifest(lake, land(lake, sync(rows=1), source(epoch))["orders"]).epoch == epoch


LANDINGS: dict[str, tuple[list[dict[str, Any]], list[int], int]] = {  # syncs as they land, their epochs, raised ones
    "one connection": ([{"generation": 3}, {"generation": 3}, {"generation": 4}], [0, 0, 0], 0),
    "a connection that was created again": ([{}, {"to": "new"}, {"to": "new"}], [0, 1, 1], 1),
    "a connection created again twice": ([{}, {"to": "new"}, {"to": "newer"}, {"to": "newer"}], [0, 1, 2, 2], 2),
    "a connection whose job ids start over": ([{"job": 900}, {"to": "new", "job": 1}], [0, 1], 1),
    "an Airbyte that was reset": ([{"generation": 7}, {"generation": 1}, {"generation": 1}], [0, 1, 1], 1),
    "an unknown generation": ([{"generation": 7}, {}, {"generation": 8}], [0, 0, 0], 0),
    "older syncs that land late": ([{"day": 3, "to": "new"}, {"day": 1}, {"day": 2}], [0, 0, 0], 0),
    "a newer connection, then a late sync": ([{}, {"day": 3, "to": "new"}, {"day": 2}], [0, 1, 0], 1),
    "syncs months apart": ([{}, {"day": 300, "to": "new"}, {"day": 600, "to": "new"}], [0, 1, 1], 1),
    "a source whose epoch is higher": ([{}, {"to": "new", "epoch": 5}, {"to": "new", "epoch": 5}], [0, 5, 5], 0),
    "a source whose epoch is not high enough": ([{"epoch": 5}, {"to": "new", "epoch": 5}], [5, 6], 1),
}


def land_one(lake: Any, land: Land, number: int, of: dict[str, Any]) -> tuple[Sync, int]:
    """Land a sync with an own connection, day, job and generation; return it and its epoch."""
    job, day = of.get("job", number), of.get("day", number)
    lake.write(f"{names.sync_prefix('shop', 'orders', job)}{of.get('to', 'c')}.parquet", parquet([upsert(1, 1)]))
    lake.metadata = {"ab-generation-id": str(of["generation"])} if "generation" in of else {}
    ended = sync(connection_id=of.get("to", "c"), job_id=job, created_at=NOON + timedelta(days=day), rows=1)
    return ended, manifest(lake, land(lake, ended, source(of.get("epoch", 0)))["orders"]).epoch


class WithMetadata(MemoryLake):
    """A lake in memory whose objects have the metadata of Airbyte's destination."""

    metadata: dict[str, str] = {}  # noqa: RUF012

    def _info(self, name: str) -> Any:
        return replace(super()._info(name), metadata=self.metadata)


@pytest.mark.parametrize("case", LANDINGS)
def test_epoch_is_raised_when_a_stream_starts_over(case: str, land: Land, caplog: pytest.LogCaptureFixture) -> None:
    syncs, epochs, raised = LANDINGS[case]
    lake = WithMetadata()
    landed = [land_one(lake, land, number, of) for number, of in enumerate(syncs, 1)]
    assert [epoch for _, epoch in landed] == epochs
    again = [manifest(lake, land(lake, ended)["orders"]).epoch for ended, _ in landed]
    assert again == epochs, "a landing that is repeated adopts its manifest"
    assert [r.__dict__.get("event") for r in caplog.records].count("landing.epoch_raised") == raised


def test_raised_epoch_is_explained(land: Land, caplog: pytest.LogCaptureFixture) -> None:
    lake = WithMetadata()
    for number, to in enumerate(("old", "new"), 1):
        land_one(lake, land, number, {"to": to})
    (record,) = [r for r in caplog.records if r.__dict__.get("event") == "landing.epoch_raised"]
    assert record.getMessage() == (
        "landing.epoch_raised: job 2 of shop.orders came through the connection new, job 1 before it through old: the"
        " connection was created again; its rows get the epoch 1, so that they are newer than all of epoch 0"
    )


def test_landing_has_the_raised_epoch_of_a_copy(land: Land) -> None:
    lake = WithMetadata()
    ended, _ = land_one(lake, land, 1, {})
    path = names.manifest_path("shop", "orders", ended.created_at, "c", 1)
    copy = LandingManifest.model_validate_json(lake.read(path)).model_copy(update={"epoch": 4})
    again = names.manifest_path("shop", "orders", NOON + timedelta(days=5), raised_connection(path, 4), 1)
    lake.create(again, copy.model_dump_json().encode())
    assert [land_one(lake, land, number, {})[1] for number in (2, 9)] == [4, 4]


def test_namesake_of_the_same_day_gets_its_own_path(land: Land) -> None:
    lake = MemoryLake()
    put(lake)
    first = land(lake, sync(rows=1))["orders"]
    put(lake, folder="sync_id=7/1.parquet")
    later = sync(rows=1, created_at=NOON + timedelta(hours=1))
    second = land(lake, later)["orders"]
    assert second.manifest == "_manifests/shop/orders/20260101/c-130000-000000000007.json"
    assert [o.name[-9:] for o in manifest(lake, second).objects] == ["1.parquet"]
    assert land(lake, later)["orders"] == second
    assert land(lake, sync(rows=1))["orders"] == first


@pytest.mark.parametrize("epoch", [-1, 1 << 32])
def test_too_large_epoch_is_rejected(epoch: int) -> None:
    with pytest.raises(ContractError, match=r"shop\.yaml: epoch"):
        parse_source(f"{SOURCE}epoch: {epoch}\n", "shop.yaml")


def test_repeated_landing_leaves_one_manifest(land: Land) -> None:
    contracts, ended = source(orders="cdc", items="append", empty="append"), sync(rows=3)

    def prepared_lake() -> MemoryLake:
        lake = MemoryLake()
        put(lake, "orders", rows=2)
        put(lake, "items")
        return lake

    whole = Fate()
    expected = land(MortalLake(prepared_lake(), whole), ended, contracts)
    assert whole.calls >= 8  # three listings, two footers, three manifests
    for n in range(2 * whole.calls):
        lake = prepared_lake()
        with pytest.raises(Killed):
            land(MortalLake(lake, Fate(n)), ended, contracts)
        assert land(lake, ended, contracts) == expected, f"killed at {n}"
        assert sorted(manifests(lake)) == sorted(landing.manifest for landing in expected.values())


def test_conflicting_manifest_is_rejected(land: Land) -> None:
    lake = MemoryLake()
    put(lake)
    landed = land(lake, sync(rows=1))["orders"]
    put(lake, folder="sync_id=7/1.parquet")
    with pytest.raises(ManifestConflict, match=f"{landed.manifest} names other objects than sync 7"):
        land(lake, sync(rows=1))


def test_missing_rows_are_awaited_then_an_error(land: Land) -> None:
    lake = MemoryLake()
    put(lake, rows=9)
    with pytest.raises(
        LandingIncomplete, match=r"sync 7 of shop: 9 of 10 rows under memory://\d+/raw/shop/\*/sync_id=7/"
    ):
        land(lake, sync(rows=10))
    assert manifests(lake) == []
    put(lake, folder="sync_id=7/1.parquet")
    assert land(lake, sync(rows=10))["orders"].rows == 10


def test_repeated_rows_or_unknown_counts_are_fine(land: Land) -> None:
    for reported in (9, None):
        lake = MemoryLake()
        put(lake, rows=10)
        assert land(lake, sync(rows=reported))["orders"].rows == 10


def test_empty_sync_is_complete_and_unannounced(land: Land) -> None:
    lake = MemoryLake()
    landed = land(lake, sync(rows=0))["orders"]
    assert (landed.files, landed.rows) == (0, 0)
    assert landed.manifest.startswith(names.EMPTY_MANIFESTS)


def test_unreadable_file_lands_for_quarantine(land: Land) -> None:
    lake = MemoryLake()
    lake.write(f"{names.sync_prefix('shop', 'orders', 7)}0.parquet", b"PAR1 no more")
    landed = land(lake, sync(rows=5))["orders"]
    assert (landed.unreadable, landed.files) == (1, 1)


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_failed_sync_lands_all_but_snapshots(land: Land, outcome: str) -> None:
    lake, contracts = MemoryLake(), source(orders="cdc", items="append", none="append", snapshot="overwrite")
    for stream in ("orders", "items", "snapshot"):
        put(lake, stream, rows=2)
    landed = land(lake, sync(rows=100, outcome=outcome), contracts)
    assert {name: landing.rows for name, landing in landed.items()} == {"orders": 2, "items": 2, "none": 0}
    assert manifest(lake, landed["orders"]).outcome == outcome


def test_snapshot_lands_its_newest_generation(lake: Lake, land: Land) -> None:
    contracts = source(orders="cdc", snapshot="overwrite")
    for stream in contracts.streams:
        for generation in (3, 4):
            name = f"{names.sync_prefix('shop', stream, 7)}{generation}.parquet"
            blob = lake._bucket.blob(name)  # type: ignore[attr-defined]  # metadata, as Airbyte's destination sets it
            blob.metadata = {"ab-generation-id": str(generation)}
            blob.upload_from_string(parquet([upsert(1, 1)]))
    landed = land(lake, sync(rows=4), contracts)
    assert {name: landing.files for name, landing in landed.items()} == {"orders": 2, "snapshot": 1}
    assert manifest(lake, landed["snapshot"]).generation_id == 4


def test_both_formats_are_counted(land: Land) -> None:
    lake = MemoryLake()
    for name in ("0.parquet", "0.parquet-1", "0.avro", "0.avro-1"):
        put(lake, rows=2, folder=f"sync_id=7/{name}")
    lake.write(f"{names.sync_prefix('shop', 'orders', 7)}_SUCCESS", b"")
    landed = land(lake, sync(rows=8))["orders"]
    assert (landed.files, landed.rows) == (4, 8)


def test_rows_without_a_contract_are_not_landed(land: Land) -> None:
    lake = MemoryLake()
    put(lake)
    put(lake, "extra", rows=5)
    modes = {"orders": "incremental_append", "extra": "incremental_append"}
    assert set(land(lake, sync(rows=6, sync_modes=modes))) == {"orders"}


@pytest.mark.parametrize("folder", ["sync_id=99/0.parquet", "2026_11_24_1764000000000_0.parquet"])
def test_sync_under_another_name_is_found_by_time(lake: Lake, land: Land, folder: str) -> None:
    began = datetime.now(UTC)
    before = put(lake, rows=3, folder=folder.replace("0.parquet", "9.parquet"))
    first = sync(job_id=6, rows=3, created_at=began, ended_at=datetime.now(UTC))
    assert manifest(lake, land(lake, first)["orders"]).objects[0].name == before
    name = put(lake, rows=2, folder=folder)
    second = sync(rows=2, created_at=began, ended_at=datetime.now(UTC))
    landed = manifest(lake, land(lake, second)["orders"])
    assert [o.name for o in landed.objects] == [name], "objects of another sync are not ours"
    assert land(lake, second)["orders"].manifest == f"_manifests/shop/orders/{began:%Y%m%d}/c-000000000007.json"


def test_objects_of_another_time_are_not_in_sync(lake: Lake, land: Land) -> None:
    put(lake, rows=2, folder="sync_id=99/0.parquet")
    later = datetime.now(UTC) + timedelta(minutes=1)
    with pytest.raises(LandingIncomplete):
        land(lake, sync(rows=2, created_at=later, ended_at=later))
