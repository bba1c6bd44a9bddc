"""The status: figures match the ledger, unreachable parts are unknown, and the page escapes all data."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from beam_job.batches import Limits
from beam_job.redrive import redrive
from millrace.domain import names
from millrace.domain.batch import Balance
from millrace.domain.errors import ServiceUnavailable
from millrace.domain.ledger import published_entry
from millrace.domain.quality import QualityFact, QualityResult
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.project import CODE
from millrace.status.lineage import mart_lineage
from millrace.status.page import render
from millrace.status.prefect_runs import TaskDuration
from millrace.status.publish import collected_at, publish_page
from millrace.status.syncs import remember
from millrace.status.tolerant_reader import TolerantReader
from millrace.status.types import SourceStatus, Status, SyncStatus
from millrace.warehouse.duckdb.lock import hold
from tests.conftest import new_lake
from tests.support.merging import NOON, Merging, contract, parquet, upsert
from tests.support.status_place import HALF, NOW, UI, StatusPlace, away, merge_some, run

WIDE = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, "amount": {"type": "float64"}}
ATTACK = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


@pytest.fixture
def place(lake: Lake, tmp_path: Path) -> StatusPlace:
    return StatusPlace(Merging(lake, tmp_path, contract(freshness="2h"), Limits()))


@pytest.fixture(scope="module")
def merged(storage_port: int, tmp_path_factory: pytest.TempPathFactory) -> StatusPlace:
    """Return the state that `merge_some` leaves, for tests that only read."""
    folder = tmp_path_factory.mktemp("status")
    status_place = StatusPlace(Merging(new_lake(storage_port), folder, contract(freshness="2h"), Limits()))
    merge_some(status_place.merging)
    return status_place


def balance(**terms: int) -> Balance:
    return Balance.model_validate(dict.fromkeys(Balance.model_fields, 0) | terms)


def test_stream_figures_match_the_ledger(merged: StatusPlace) -> None:
    (stream,) = merged.status().streams
    terms = ("rows_in", "merged", "superseded", "stale", "quarantined")
    sums = merged.merging.query(f"SELECT {', '.join(f'sum({t})' for t in terms)} FROM ops.ledger WHERE kind = 'merged'")
    assert [tuple(getattr(stream.balance, term) for term in terms)] == sums == [(7, 4, 1, 1, 1)]
    batches = merged.merging.query("SELECT batch_id, rows_in FROM ops.ledger WHERE kind = 'merged' ORDER BY seq DESC")
    assert [(b.id, b.balance.rows_in) for b in stream.batches] == batches
    objects = merged.merging.query("SELECT batch_id, job_id, object, rows FROM ops.ledger_objects ORDER BY ALL")
    shown = [(b.id, s.job_id, f.object, f.rows) for b in stream.batches for s in b.syncs or () for f in s.first]
    assert sorted(shown) == objects
    assert (stream.pending.landings, stream.pending.rows) == (1, 2) if stream.pending else False
    assert stream.quarantine == tuple(merged.merging.warehouse.quarantined_objects(merged.merging.contract))
    assert [o.rows for o in stream.quarantine or ()] == [1]


def test_redriven_rows_count_once(place: StatusPlace) -> None:
    merging = place.merging
    merging.land(merging.put(parquet([upsert(1, 1), upsert(2, 1) | {"amount": 0.5}], HALF)))
    merging.merge()
    assert place.status().streams[0].balance == balance(rows_in=2, merged=1, quarantined=1)
    merging.contract = contract(freshness="2h", columns=WIDE)
    redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
    assert place.status().streams[0].balance == balance(rows_in=2, merged=1, quarantined=1), "not merged yet"
    merging.merge()
    (stream,) = place.status().streams
    assert (stream.balance, stream.quarantine) == (balance(rows_in=2, merged=2), ())
    assert [b.balance.rows_in for b in stream.batches] == [2, 2], "batches are as the ledger has them"


def test_batch_keeps_its_first_publication(place: StatusPlace) -> None:
    place.merging.land(rows=[upsert(1, 1)])
    place.merging.merge()
    (batch,) = [b.id for b in place.status().streams[0].batches]
    first, rebuilt = NOON, NOON + timedelta(minutes=20)
    for candidate, at in (("c1", first), ("c2", rebuilt)):
        place.merging.warehouse.append(published_entry(batch, candidate, f"run of {candidate}", at))
    (shown,) = place.status().streams[0].batches
    assert (shown.published_at, shown.candidate) == (first, "c1")


def test_quarantine_shows_the_redrive_command(merged: StatusPlace) -> None:
    status = merged.status()
    (stream,) = status.streams
    assert (stream.health, status.headline) == ("look", "Somebody should look at shop.orders, Warehouse")
    assert stream.trouble
    assert stream.trouble.sentence == "1 row of 1 file broke the contract: row.type."
    assert stream.trouble.command == "millrace redrive shop.orders"


def test_freshness_is_met_late_or_not_started(place: StatusPlace) -> None:
    assert place.status().streams[0].freshness.kept is False
    place.merging.land(rows=[upsert(1, 1)])
    place.merging.merge()
    fresh, late = (place.status(NOON + timedelta(hours=h)).streams[0] for h in (1, 3))
    assert (fresh.freshness.age_s, fresh.freshness.limit_s, fresh.freshness.kept) == (3600, 7200, True)
    assert (fresh.health, late.freshness.kept, late.health) == ("good", False, "look")


def test_failed_merge_is_bad_until_next_success(place: StatusPlace) -> None:
    message = "Flow run encountered an exception: SettingsError: no bucket lake-x. Make it, then press Retry"
    place.runs = [run(state="FAILED", message=message, number=5)]
    status = place.status()
    trouble = status.streams[0].trouble
    assert trouble
    assert (trouble.kind, trouble.sentence, trouble.over) == ("SettingsError", "no bucket lake-x.", False)
    assert (trouble.command, status.health) == ("millrace deploy blocks", "bad")
    assert trouble.run
    assert trouble.run.url == f"{UI}/runs/flow-run/{place.runs[0].id}"
    place.runs = [run("merge shop.orders · 3 files · 12 rows", number=9), *place.runs]
    after = place.status().streams[0]
    assert after.trouble
    assert (after.trouble.over, after.health) == (True, "look")  # not bad; late, as nothing was merged


def test_failed_other_work_needs_attention(place: StatusPlace) -> None:
    place.merging.land(rows=[upsert(1, 1)])
    place.merging.merge()
    place.runs = [run("digest", state="FAILED", message="exception: AlertFailed: Slack is away", parameters={})]
    status = place.status()
    assert (status.health, status.headline) == ("look", "Somebody should look at digest")
    assert [t.command for t in status.troubles] == ["millrace start digest"]


def test_unreachable_part_is_unknown_others_shown(merged: StatusPlace) -> None:
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


def test_missing_lake_is_unknown_and_queried_once(merged: StatusPlace) -> None:
    status = replace(merged, lake=open_lake("gs://no-such-bucket", merged.merging.lake.endpoint)).status()
    assert [u.what for u in status.unknown] == ["lake", "airbyte"]
    assert (status.streams[0].pending, status.streams[0].balance.rows_in) == (None, 7)
    ask = TolerantReader()
    assert ask("lake", away) is None
    assert (ask("lake", lambda: 1), ask("prefect", lambda: 2), len(ask.unknown)) == (None, 2, 1)


def test_run_without_airbyte_shows_the_last_jobs(place: StatusPlace) -> None:
    sync = SyncStatus(source="shop", job_id=4, status="succeeded", created_at=NOON, rows=7)
    source = SourceStatus(source="shop", health="good", syncs=(sync,))
    remember(place.merging.lake, empty(NOW - timedelta(minutes=9)).model_copy(update={"sources": (source,)}))
    status = place.status()
    (shown,) = status.sources
    assert (shown.syncs, shown.as_of, shown.health) == ((sync,), NOW - timedelta(minutes=9), "good")
    assert status.unknown == ()
    assert "As Airbyte reported on 01 Jan, 12:51" in render(status)
    old = place.status(NOW + timedelta(hours=2))
    assert (old.sources[0].syncs, [u.what for u in old.unknown]) == ((sync,), ["airbyte"])
    remember(place.merging.lake, status)
    assert place.status().sources[0].as_of == NOW - timedelta(minutes=9), "a recalled state is not new"


def test_locked_warehouse_is_unknown(lake: Lake, tmp_path: Path) -> None:
    place = StatusPlace(Merging(lake, tmp_path, limits=Limits()))
    merge_some(place.merging)
    place.merging.warehouse._timeout_s = 0.2
    file = tmp_path / "warehouse.duckdb"
    with hold(file.with_name(f"{file.name}.lock"), "a long commit", 1):
        status = place.status()
    assert "a long commit" in next(u.why for u in status.unknown if u.what == "ledger")
    assert (status.streams[0].health, status.streams[0].pending, status.quality) == ("unknown", None, None)
    assert "–" in render(status)


def test_runs_of_the_gate_and_steps_are_counted(place: StatusPlace) -> None:
    merge_some(place.merging)
    results = [
        QualityResult(suite="s", expectation="expect_x", severity=s, success=ok)
        for s, ok in (("stop", True), ("warn", False), ("quarantine", False))
    ]
    facts = [QualityFact(at=NOON, by="model", run_id="r", candidate="c", result=r) for r in results]
    place.merging.warehouse.record_quality(facts)
    place.runs = [
        run(number=2),
        run(number=1, seconds=1.5),
        run("model", number=3),
        run("land shop", number=4),
        run("digest", number=5),
    ]
    steps = ((0, "commit batch"), (3, "watch sync"), (4, "tell"))
    place.tasks = [TaskDuration(place.runs[i].id, step, NOON, 0.4) for i, step in steps]
    status = place.status()
    assert status.quality
    assert [(g.found.held, g.found.failed, g.found.left_out, g.found.warned) for g in status.quality.runs] == [
        (1, 0, 1, 1)
    ]
    assert [(s.name, len(s.runs), s.median_s, s.worst_s) for s in status.steps or ()] == [
        ("land", 1, 2.5, 2.5),
        ("land · watch sync", 1, 0.4, 0.4),
        ("merge", 2, 2.0, 2.5),
        ("merge · commit batch", 1, 0.4, 0.4),
        ("model", 1, 2.5, 2.5),
    ]


class Tags(HTMLParser):
    """A page's elements, attributes and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def test_page_escapes_all_data(place: StatusPlace) -> None:
    merge_some(place.merging)
    place.merging.query("SELECT 1")
    fact = QualityResult(
        suite=ATTACK, expectation=ATTACK, column=ATTACK, success=False, observed=ATTACK, sample=(ATTACK,)
    )
    place.merging.warehouse.record_quality(
        [QualityFact(at=NOON, by="model", run_id=ATTACK, candidate=ATTACK, result=fact)]
    )
    place.runs = [
        run(state="FAILED", message=f"exception: FileRejected: {ATTACK}", number=3),
        run(f"{ATTACK} x", flow="merge", number=4, id=ATTACK),
    ]
    page = render(place.status())
    tags = Tags(page)
    assert tags.tags.isdisjoint({"img", "iframe", "object"})
    assert page.count("<script") == 1, "the script of the age"
    assert tags.handlers == []
    assert "&lt;script&gt;alert(1)" in page
    assert all(a.startswith(("#", "data:,", UI)) for a in tags.addresses), tags.addresses


def test_page_links_resolve_and_ids_are_unique(merged: StatusPlace) -> None:
    tags = Tags(render(replace(merged, dbt_project=CODE / "dbt_project").status()))
    assert [a for a in tags.addresses if a.startswith("#") and a[1:] not in tags.ids] == []
    assert len(tags.ids) == len(set(tags.ids))


class Clock:
    """A clock that advances by a second at each reading."""

    def __init__(self) -> None:
        self._now, self._lock = NOW, threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self._now += timedelta(seconds=1)
            return self._now


def empty(at: datetime) -> Status:
    return Status(at=at, since=at, health="good", headline=f"of {at.isoformat()}", stations=())


def test_older_state_never_replaces_a_newer_one(lake: Lake) -> None:
    clock, newer = Clock(), []

    def slow(at: datetime) -> Status:
        if not newer:  # while the first run collects, another starts later and is faster
            newer.append(publish_page(lake, empty_page, clock))
        return empty(at)

    def empty_page(at: datetime) -> Status:
        newer.append(at)
        return empty(at)

    publish_page(lake, slow, clock)
    page = lake.stat(names.STATUS_PAGE)
    assert page
    assert collected_at(page) == newer[0]
    assert f"of {newer[0].isoformat()}".encode() in lake.read(names.STATUS_PAGE)


def test_concurrent_runs_all_appear_on_the_page(lake: Lake) -> None:
    finished: list[int] = []

    def work(number: int) -> int:
        finished.append(number)
        return publish_page(lake, of_all, lambda: datetime.now(UTC))

    def of_all(at: datetime) -> Status:
        return empty(at).model_copy(update={"headline": " ".join(f"<{n}>" for n in sorted(finished))})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    page = lake.read(names.STATUS_PAGE).decode()
    assert [n for n in range(24) if f"&lt;{n}&gt;" not in page] == []


def test_page_losing_every_race_raises(lake: Lake) -> None:
    def overtaken(at: datetime) -> Status:
        lake.write(names.STATUS_PAGE, b"another's")
        return empty(at)

    with pytest.raises(ServiceUnavailable, match="the next run shows it"):
        publish_page(lake, overtaken, lambda: datetime.now(UTC))
    assert lake.read(names.STATUS_PAGE) == b"another's"


def test_mart_lists_the_streams_its_models_read(tmp_path: Path) -> None:
    models: dict[str, str] = {
        "staging/stg_a.sql": "select * from {{ live_rows('shop', 'a') }}",
        "staging/stg_b.sql": 'select * from {{ source("shop", "b") }}',
        "intermediate/int_ab.sql": "{{ ref('stg_a') }} {{ ref( 'stg_b' ) }} {{ ref('int_ab') }}",
        "marts/both.sql": "{{ ref('int_ab') }}",
        "marts/one.sql": "{{ ref('stg_a') }}",
        "marts/one.yml": "models: [{name: one, description: Only a.}]",
    }
    for name, text in models.items():
        file = tmp_path / "models" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    lineage = {name: (mart.description, mart.streams) for name, mart in mart_lineage(tmp_path).items()}
    assert lineage == {"both": ("", ("shop.a", "shop.b")), "one": ("Only a.", ("shop.a",))}


def test_balance_bar_shows_a_single_bad_row() -> None:
    from millrace.status.pictures import balance_bar

    bar = balance_bar(Balance(rows_in=1_000_001, merged=1_000_000, superseded=0, stale=0, quarantined=1))
    widths: dict[str, Any] = {
        part.split('"')[0]: float(part.split('width="')[1].split('"')[0])
        for part in str(bar).split('<rect class="')[1:]
    }
    assert widths["quarantined"] > 1
    assert sum(widths.values()) == pytest.approx(100, abs=0.1)
