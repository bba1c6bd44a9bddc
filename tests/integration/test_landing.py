"""A sync's manifests: what they say of its rows' order."""

from types import SimpleNamespace

import pytest

from contracts import names
from contracts.errors import ContractError
from contracts.landing import LandingManifest
from contracts.source import SourceContract, parse_source
from contracts.sync import Sync
from tasks import await_landing
from tests.integration.in_process import MemoryLake
from tests.integration.merging import NOON, contract, parquet, upsert

SOURCE = "source: shop\nconnector: {image: i, version: '1'}\nstreams: {}\n"


@pytest.mark.parametrize("epoch", [0, 3])
def test_what_lands_bears_the_epoch_that_its_source_has_then(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = parse_source(f"{SOURCE}epoch: {epoch}\n", "shop.yaml")
    source = source.model_copy(update={"streams": {"orders": contract()}})
    lake = MemoryLake()
    lake.write(f"{names.sync_prefix('shop', 'orders', 7)}0.parquet", parquet([upsert(1, 1)]))
    assert landed(lake, source, monkeypatch).epoch == epoch


def landed(lake: MemoryLake, source: SourceContract, monkeypatch: pytest.MonkeyPatch) -> LandingManifest:
    """The manifest of a sync that succeeded."""
    monkeypatch.setattr(await_landing, "open_lake", lambda: lake)
    monkeypatch.setattr(await_landing, "airbyte_block", lambda: SimpleNamespace(landing_timeout_s=1))
    monkeypatch.setattr(await_landing, "source_contract", lambda name: source)
    sync = Sync(source="shop", connection_id="c", job_id=7, created_at=NOON, outcome="succeeded", rows=1)
    (landing,) = await_landing.await_landing.fn(sync)
    return LandingManifest.model_validate_json(lake.read(landing.manifest))


@pytest.mark.parametrize("epoch", [-1, 1 << 32])
def test_an_epoch_that_the_order_has_no_room_for_is_refused(epoch: int) -> None:
    with pytest.raises(ContractError, match=r"shop\.yaml: epoch"):
        parse_source(f"{SOURCE}epoch: {epoch}\n", "shop.yaml")
