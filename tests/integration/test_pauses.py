"""Pauses: kept in the lake, obeyed by runs and by Airbyte's schedule, shown by the status, and silent."""

from datetime import timedelta

import pytest

from beam_job.batches import Limits
from cli.checks.finding import Target
from cli.checks.pauses import pauses as check_pauses
from cli.environment import Environment
from cli.status_view import _pauses
from local.servers.airbyte.scheduler import Scheduler
from local.servers.airbyte.store import Store
from millrace.airbyte.connections import connection
from millrace.contracts.source import SourceContract
from millrace.lake.pauses import Pause, Pauses, pause, read_pauses, resume
from millrace.lake.store import Lake
from millrace.project import CODE
from millrace.settings import load_settings
from millrace.status.page import render
from tasks import pauses as in_runs
from tests.support.merging import NOON, Merging, contract, upsert
from tests.support.shop import SHOP
from tests.support.shop_status import ShopStatus, run

FAILED = "exception: SyncFailed: the source is away"


def stored(source: str = "shop", stream: str | None = None) -> Pause:
    return Pause(source=source, stream=stream, reason="it moves", at=NOON)


@pytest.fixture
def shop(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> ShopStatus:
    folder = tmp_path_factory.mktemp("pauses")
    return ShopStatus(Merging(lake, folder, contract(freshness="2h"), Limits()))


def test_pause_is_durable_and_ends_once(lake: Lake) -> None:
    assert pause(lake, stored())
    assert not pause(lake, stored().model_copy(update={"reason": "another"}))
    assert pause(lake, stored("depot", "bins"))
    pauses = read_pauses(lake)
    assert [p.sentence for p in pauses] == [
        "depot.bins is paused since 2026-01-01 12:00 UTC: it moves",
        "shop is paused since 2026-01-01 12:00 UTC: it moves",
    ]
    assert [bool(pauses.of(*of)) for of in (("shop",), ("shop", "orders"), ("depot",), ("depot", "bins"))] == [
        True,
        True,
        False,
        True,
    ]
    assert (resume(lake, "shop"), resume(lake, "shop")) == (True, False)
    assert [p.id for p in read_pauses(lake)] == ["depot.bins"]


def test_run_of_a_paused_stream_ends_cancelled(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_runs, "open_lake", lambda: lake)
    assert in_runs.stop_paused({"source": "shop", "stream": "visits"}) is None
    pause(lake, stored("shop", "visits"))
    state = in_runs.stop_paused({"source": "shop", "stream": "visits"})
    assert state is not None
    assert state.is_cancelled()
    assert "millrace" in str(state.message)
    assert "resume shop.visits`" in str(state.message)
    assert in_runs.stop_paused({"source": "shop", "streams": None}) is None
    assert in_runs.stop_paused({"full": True}) is None
    (left,) = in_runs.without_paused([SHOP])
    assert set(SHOP.streams) - set(left.streams) == {"visits"}
    pause(lake, stored("shop"))
    assert in_runs.without_paused([SHOP]) == []


def test_status_shows_pauses_and_stays_calm(shop: ShopStatus) -> None:
    merging = shop.merging
    merging.land(rows=[upsert(1, 1)])
    merging.merge()
    shop.runs = [
        run(state="FAILED", message=FAILED, number=5),
        run("ingest shop", "FAILED", 4, message=FAILED, parameters={"source": "shop"}),
    ]
    late = NOON + timedelta(hours=5)
    assert shop.status(late).health == "bad"
    pause(merging.lake, stored())
    status = shop.status(late)
    assert [name for name in ("Something is broken", "shop") if name in status.headline] == []
    assert {station.key: station.health for station in status.stations}["merge"] == "good"
    (stream,) = status.streams
    assert (stream.paused, stream.freshness.kept) == ("shop is paused since 2026-01-01 12:00 UTC: it moves", None)
    assert all(trouble.over for trouble in status.troubles)
    assert "millrace resume shop" in render(status)
    assert _pauses(status) == [f"‖ {stream.paused}; `millrace resume shop`"]


def test_doctor_shows_pauses(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_LAKE__URL", lake.url)
    monkeypatch.setenv("MILLRACE_LAKE__ENDPOINT", lake.endpoint)
    target = Target(Environment(CODE, CODE / ".millrace"), load_settings())
    assert [f.level for f in check_pauses(target)] == ["good"]
    pause(lake, stored("shop", "orders"))
    (finding,) = check_pauses(target)
    assert (finding.level, finding.repair) == ("look", "millrace resume shop.orders")


def test_paused_connection_has_no_schedule(tmp_path_factory: pytest.TempPathFactory) -> None:
    every_second = {"schedule": "* * * * * ? UTC", "connector": {"image": "i", "version": "1"}}
    source = SourceContract.model_validate({"source": "shop", **every_second, "streams": {"orders": contract()}})
    assert connection(source, paused=True)["status"] == "inactive"
    store = Store(tmp_path_factory.mktemp("airbyte") / "airbyte.sqlite")
    now = [NOON]
    scheduler = Scheduler(store, lambda job: None, lambda: now[0])
    for paused, jobs in ((True, 0), (False, 1)):
        store.put("connections", "1", {"connectionId": "1", **connection(source, paused=paused)})
        now[0] += timedelta(minutes=1)
        assert len(scheduler.tick()) == jobs


def test_pauses_of_another_stream_do_not_count() -> None:
    pauses = Pauses([stored("shop", "orders")])
    assert pauses.of("shop", "customers") is None
    assert pauses.of("shop") is None
