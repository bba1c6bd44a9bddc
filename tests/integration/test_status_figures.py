"""The figures of the status match the ledger, the quality results and the runs."""

from datetime import timedelta
from pathlib import Path

import pytest

from beam_job.redrive import redrive
from millrace.domain.batch import Balance
from millrace.domain.ledger import published_entry
from millrace.domain.quality import QualityFact, QualityResult
from millrace.lake.store import Lake
from millrace.status.lineage import mart_lineage
from millrace.status.prefect_runs import TaskDuration
from tests.conftest import new_lake
from tests.support.merging import NOON, contract, parquet, upsert
from tests.support.shop_status import HALF, ShopStatus, merge_some, merged_shop, new_shop, run

WIDE = {"id": {"type": "int64", "nullable": False}, "name": {"type": "string"}, "amount": {"type": "float64"}}


@pytest.fixture
def shop(lake: Lake, tmp_path: Path) -> ShopStatus:
    return new_shop(lake, tmp_path)


@pytest.fixture(scope="module")
def merged(storage_port: int, tmp_path_factory: pytest.TempPathFactory) -> ShopStatus:
    return merged_shop(new_lake(storage_port), tmp_path_factory.mktemp("status"))


def balance(**terms: int) -> Balance:
    return Balance.model_validate(dict.fromkeys(Balance.model_fields, 0) | terms)


def test_stream_figures_match_the_ledger(merged: ShopStatus) -> None:
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


def test_redriven_rows_count_once(shop: ShopStatus) -> None:
    merging = shop.merging
    merging.land(merging.put(parquet([upsert(1, 1), upsert(2, 1) | {"amount": 0.5}], HALF)))
    merging.merge()
    assert shop.status().streams[0].balance == balance(rows_in=2, merged=1, quarantined=1)
    merging.contract = contract(freshness="2h", columns=WIDE)
    redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=NOON)
    assert shop.status().streams[0].balance == balance(rows_in=2, merged=1, quarantined=1), "not merged yet"
    merging.merge()
    (stream,) = shop.status().streams
    assert (stream.balance, stream.quarantine) == (balance(rows_in=2, merged=2), ())
    assert [b.balance.rows_in for b in stream.batches] == [2, 2], "batches are as the ledger has them"


def test_batch_keeps_its_first_publication(shop: ShopStatus) -> None:
    shop.merging.land(rows=[upsert(1, 1)])
    shop.merging.merge()
    (batch,) = [b.id for b in shop.status().streams[0].batches]
    first, rebuilt = NOON, NOON + timedelta(minutes=20)
    for candidate, at in (("c1", first), ("c2", rebuilt)):
        shop.merging.warehouse.append(published_entry(batch, candidate, f"run of {candidate}", at))
    (shown,) = shop.status().streams[0].batches
    assert (shown.published_at, shown.candidate) == (first, "c1")


def test_freshness_is_met_late_or_not_started(shop: ShopStatus) -> None:
    assert shop.status().streams[0].freshness.kept is False
    shop.merging.land(rows=[upsert(1, 1)])
    shop.merging.merge()
    fresh, late = (shop.status(NOON + timedelta(hours=h)).streams[0] for h in (1, 3))
    assert (fresh.freshness.age_s, fresh.freshness.limit_s, fresh.freshness.kept) == (3600, 7200, True)
    assert (fresh.health, late.freshness.kept, late.health) == ("good", False, "look")


def test_runs_of_the_gate_and_steps_are_counted(shop: ShopStatus) -> None:
    merge_some(shop.merging)
    results = [
        QualityResult(suite="s", expectation="expect_x", severity=s, success=ok)
        for s, ok in (("stop", True), ("warn", False), ("quarantine", False))
    ]
    facts = [QualityFact(at=NOON, by="model", run_id="r", candidate="c", result=r) for r in results]
    shop.merging.warehouse.record_quality(facts)
    shop.runs = [
        run(number=2),
        run(number=1, seconds=1.5),
        run("model", number=3),
        run("land shop", number=4),
        run("digest", number=5),
    ]
    steps = ((0, "commit batch"), (3, "watch sync"), (4, "tell"))
    shop.tasks = [TaskDuration(shop.runs[i].id, step, NOON, 0.4) for i, step in steps]
    status = shop.status()
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
