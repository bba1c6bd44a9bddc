"""The status names what failed and the repair; what cannot be reached is unknown, and the rest is shown."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from beam_job.batches import Limits
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.status.page import render
from millrace.status.syncs import remember
from millrace.status.tolerant_reader import TolerantReader
from millrace.status.types import SourceStatus, Status, SyncStatus
from millrace.warehouse.duckdb.lock import hold
from tests.conftest import new_lake
from tests.support.merging import NOON, Merging, upsert
from tests.support.shop_status import NOW, UI, ShopStatus, away, empty, merge_some, merged_shop, new_shop, run


@pytest.fixture
def shop(lake: Lake, tmp_path: Path) -> ShopStatus:
    return new_shop(lake, tmp_path)


@pytest.fixture(scope="module")
def merged(storage_port: int, tmp_path_factory: pytest.TempPathFactory) -> ShopStatus:
    return merged_shop(new_lake(storage_port), tmp_path_factory.mktemp("status"))


def test_quarantine_shows_the_redrive_command(merged: ShopStatus) -> None:
    status = merged.status()
    (stream,) = status.streams
    assert (stream.health, status.headline) == ("look", "Somebody should look at shop.orders, Warehouse")
    assert stream.trouble
    assert stream.trouble.sentence == "1 row of 1 file broke the contract: row.type."
    assert stream.trouble.command == "millrace redrive shop.orders"


def test_failed_merge_is_bad_until_next_success(shop: ShopStatus) -> None:
    message = "Flow run encountered an exception: SettingsError: no bucket lake-x. Make it, then press Retry"
    shop.runs = [run(state="FAILED", message=message, number=5)]
    status = shop.status()
    trouble = status.streams[0].trouble
    assert trouble
    assert (trouble.kind, trouble.sentence, trouble.over) == ("SettingsError", "no bucket lake-x.", False)
    assert (trouble.command, status.health) == ("millrace deploy blocks", "bad")
    assert trouble.run
    assert trouble.run.url == f"{UI}/runs/flow-run/{shop.runs[0].id}"
    shop.runs = [run("merge shop.orders · 3 files · 12 rows", number=9), *shop.runs]
    after = shop.status().streams[0]
    assert after.trouble
    assert (after.trouble.over, after.health) == (True, "look")  # not bad; late, as nothing was merged


def test_failed_other_work_needs_attention(shop: ShopStatus) -> None:
    shop.merging.land(rows=[upsert(1, 1)])
    shop.merging.merge()
    shop.runs = [run("digest", state="FAILED", message="exception: AlertFailed: Slack is away", parameters={})]
    status = shop.status()
    assert (status.health, status.headline) == ("look", "Somebody should look at digest")
    assert [t.command for t in status.troubles] == ["millrace start digest"]


def test_unreachable_part_is_unknown_others_shown(merged: ShopStatus) -> None:
    status = replace(merged, prefect=away).status()
    assert {u.what for u in status.unknown} == {"prefect", "airbyte"}
    assert all("the server does not answer" in u.why for u in status.unknown)
    assert status.steps is None
    assert status.sources[0].syncs is None
    assert status.streams[0].balance.rows_in == 7
    by_key = {station.key: station for station in status.stations}
    assert (by_key["source"].health, by_key["events"].health, by_key["merge"].health) == ("unknown", "unknown", "look")
    assert "the server does not answer" in render(status)
    assert Status.model_validate_json(status.model_dump_json()) == status


def test_missing_lake_is_unknown_and_queried_once(merged: ShopStatus) -> None:
    status = replace(merged, lake=open_lake("gs://no-such-bucket", merged.merging.lake.endpoint)).status()
    assert [u.what for u in status.unknown] == ["lake", "airbyte"]
    assert (status.streams[0].pending, status.streams[0].balance.rows_in) == (None, 7)
    ask = TolerantReader()
    assert ask("lake", away) is None
    assert (ask("lake", lambda: 1), ask("prefect", lambda: 2), len(ask.unknown)) == (None, 2, 1)


def test_run_without_airbyte_shows_the_last_jobs(shop: ShopStatus) -> None:
    sync = SyncStatus(source="shop", job_id=4, status="succeeded", created_at=NOON, rows=7)
    source = SourceStatus(source="shop", health="good", syncs=(sync,))
    remember(shop.merging.lake, empty(NOW - timedelta(minutes=9)).model_copy(update={"sources": (source,)}))
    status = shop.status()
    (shown,) = status.sources
    assert (shown.syncs, shown.as_of, shown.health) == ((sync,), NOW - timedelta(minutes=9), "good")
    assert status.unknown == ()
    assert "As Airbyte reported on 01 Jan, 12:51" in render(status)
    old = shop.status(NOW + timedelta(hours=2))
    assert (old.sources[0].syncs, [u.what for u in old.unknown]) == ((sync,), ["airbyte"])
    remember(shop.merging.lake, status)
    assert shop.status().sources[0].as_of == NOW - timedelta(minutes=9), "a recalled state is not new"


def test_locked_warehouse_is_unknown(lake: Lake, tmp_path: Path) -> None:
    shop = ShopStatus(Merging(lake, tmp_path, limits=Limits()))
    merge_some(shop.merging)
    shop.merging.warehouse._timeout_s = 0.2
    file = tmp_path / "warehouse.duckdb"
    with hold(file.with_name(f"{file.name}.lock"), "a long commit", 1):
        status = shop.status()
    assert "a long commit" in next(u.why for u in status.unknown if u.what == "ledger")
    assert (status.streams[0].health, status.streams[0].pending, status.quality) == ("unknown", None, None)
    assert "–" in render(status)
