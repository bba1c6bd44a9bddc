"""The four flows, run in this process against real servers: landings, merges, marts, events and findings."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.states import Crashed, Running

from beam_job.batches import Limits, open_batch
from beam_job.merge import merge_stream
from blocks import names as block_names
from blocks.load import load_block
from flows.ingest import ingest
from flows.merge import merge
from flows.model import model
from flows.reconcile import reconcile
from millrace.domain import names
from millrace.domain.alerts import REJECTED
from millrace.domain.batch import Batch
from millrace.domain.errors import ReconcileIncomplete, UnknownStream
from millrace.domain.ledger import published_entry
from millrace.settings import load_settings
from tasks.merge.commit_batch import was_stale
from tests.e2e.landing import airline, land, parquet
from tests.e2e.stack import now
from tests.integration.flows.conftest import STREAMS
from tests.support.flow_environment import SOURCE, FlowEnvironment, Ran
from tests.support.proxy import Proxy
from tests.support.scripted_airbyte import query, rows
from tests.support.servers import wait_until

pytestmark = pytest.mark.demo

NOWHERE, DASHBOARDS = "XXX", f"{names.SITE}dashboards/"


@pytest.mark.parametrize(
    ("flow", "parameters", "message"),
    [
        (ingest, {"source": "shop"}, f"no source 'shop' in sources/; there are {SOURCE}"),
        (
            ingest,
            {"source": SOURCE, "streams": ["flights", "trains"]},
            f"source '{SOURCE}' has no stream 'trains'; it has {', '.join(STREAMS)}",
        ),
        (merge, {"source": "shop", "stream": "flights"}, f"no source 'shop' in sources/; there are {SOURCE}"),
        (
            merge,
            {"source": SOURCE, "stream": "trains"},
            f"source '{SOURCE}' has no stream 'trains'; it has {', '.join(STREAMS)}",
        ),
    ],
    ids=["ingest, source", "ingest, stream", "merge, source", "merge, stream"],
)
def test_unknown_parameter_error_lists_valid_ones(
    environment: FlowEnvironment, flow: Flow[..., Any], parameters: dict[str, Any], message: str
) -> None:
    before, since = environment.jobs(), datetime.now(UTC)
    with pytest.raises(UnknownStream) as refused:
        flow(**parameters)
    assert str(refused.value).startswith(message)
    assert environment.jobs() == before
    state = flow(**parameters, return_state=True)
    assert (state.name, state.is_failed()) == (REJECTED, True)
    assert not environment.api.events(names.RUN_FAILED, since), "a mistyped parameter alerts nobody"


def test_ingest_lands_one_manifest_per_stream(environment: FlowEnvironment, ingested: Ran) -> None:
    table = {row["stream"]: row for row in ingested.tables["landed-airport-ops"]}
    assert set(table) == set(STREAMS)
    for stream in STREAMS:
        ((source_rows,),) = query(environment.stack.database, f"SELECT count(*) FROM {stream}")
        assert source_rows == table[stream]["rows"] > 0
        assert table[stream]["manifest"] == environment.manifests(stream)[0]
        key = environment.source.stream(stream).key[0]
        landed = sorted(str(row[key]) for name in [table[stream]["manifest"]] for row in environment.landed(name))
        assert landed == sorted(str(k) for (k,) in query(environment.stack.database, f"SELECT {key} FROM {stream}"))


def test_merge_takes_all_pending_objects_once(environment: FlowEnvironment, merged: dict[str, Ran]) -> None:
    assert {stream: ran.result for stream, ran in merged.items()} == dict.fromkeys(STREAMS, 1)
    for stream, ran in merged.items():
        (row,) = ran.tables[f"merged-airport-ops-{stream}"]
        assert row["rows_in"] == row["merged"] + row["superseded"] + row["stale"] + row["quarantined"]
        ((live,),) = environment.query(f"SELECT count(*) FROM raw_{SOURCE}.{stream}_live")
        assert live == row["merged"] == len(rows(environment.lake, SOURCE, stream))
        assert environment.pending(stream) == []
    again = environment.run(merge, source=SOURCE, stream="airports")
    assert (again.result, again.tables) == (0, {})


def test_every_merge_is_announced_once(environment: FlowEnvironment, merged: dict[str, Ran]) -> None:
    runs = {ran.id for ran in merged.values()}
    batches = sorted(e.batch_id for e in environment.ledger("merged") if e.run_id in runs)
    assert len(batches) == len(STREAMS)
    assert (
        sorted(m["batch_id"] for m in environment.messages(names.WAREHOUSE_MERGED) if m["batch_id"] in batches)
        == batches
    )


def test_merge_reports_freshness_of_its_stream(environment: FlowEnvironment, merged: dict[str, Ran]) -> None:
    wait_until(
        lambda: len(environment.api.events(names.STREAM_MERGED, environment.began)) >= 2, "the merges are events"
    )
    resources = {
        e["payload"]["stream"]: e["resource"] for e in environment.api.events(names.STREAM_MERGED, environment.began)
    }
    assert {stream: resource["millrace.stale"] for stream, resource in resources.items()} == {
        "flights": "no",
        "weather": "no",
    }
    assert resources["flights"]["prefect.resource.id"] == names.stream_resource(SOURCE, "flights")
    late = Batch(
        id="b", source=SOURCE, stream="flights", engine="plain", manifests=(), objects=(), head_epoch=1, opened_at=now()
    )
    first = late.model_copy(update={"head_epoch": 0})
    assert was_stale(1, late)
    assert not was_stale(1, first)
    assert not was_stale(2, late)
    flights, hour = environment.source.stream("flights"), timedelta(hours=1)
    merged_flights = [e for e in environment.ledger("merged") if e.stream == "flights"]
    assert environment.warehouse.count_merges(flights, now() - hour) == len(merged_flights)
    assert environment.warehouse.count_merges(flights, now() + hour) == 0


def test_model_publishes_once_then_has_no_work(environment: FlowEnvironment, published: Ran) -> None:
    assert published.result == len(STREAMS)
    marts = {row["mart"]: row["rows"] for row in published.tables["published-marts"]}
    assert marts == environment.warehouse.marts()
    ((flights,),) = query(environment.stack.database, "SELECT count(*) FROM flights")
    assert marts["fct_flights"] == flights
    assert {row["success"] for row in published.tables["quality"]} == {"True"}
    assert {row["suite"] for row in published.tables["quality"]} == set(marts)
    streams = {f"{SOURCE}.{stream}" for stream in STREAMS}
    assert {row["suite"] for row in published.tables["quality-of-merged-rows"]} == streams
    assert {row["success"] for row in published.tables["quality-of-merged-rows"]} == {"True"}
    before = environment.snapshot()
    again = environment.run(model)
    assert (again.result, again.tables) == (0, {})
    assert environment.snapshot() == before


def test_marts_are_announced_once(environment: FlowEnvironment, published: Ran) -> None:
    assert environment.run(model).result == 0
    (message,) = [m for m in environment.messages(names.MARTS_PUBLISHED) if m["run_id"] == published.id]
    assert message["marts"] == {row["mart"]: row["rows"] for row in published.tables["published-marts"]}
    assert message["batches"] == len(STREAMS)
    (candidate,) = {e.detail for e in environment.ledger("published") if e.run_id == published.id}
    assert [e.batch_id for e in environment.ledger("announced")].count(candidate) == 1


def test_next_run_announces_unannounced_marts(environment: FlowEnvironment, published: Ran) -> None:
    batch = environment.ledger("merged")[0].batch_id
    environment.warehouse.append(published_entry(batch, "candidate_of_the_dead", "the-dead", datetime.now(UTC)))
    assert environment.run(model).result == 0
    (message,) = [m for m in environment.messages(names.MARTS_PUBLISHED) if m["run_id"] == "the-dead"]
    assert message["batches"] == 1
    assert environment.warehouse.unannounced_publication() is None
    assert [e.batch_id for e in environment.ledger("announced")].count("candidate_of_the_dead") == 1


@pytest.mark.long
def test_publication_needs_no_charts(
    environment: FlowEnvironment, published: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environment.lake.stat(f"{DASHBOARDS}index.html")
    land(environment.lake, parquet([airline("UA", "an old name, which comes late", lsn=0)]))  # so that dbt has no work
    assert merge(SOURCE, "airlines") == 1
    batch = environment.ledger("merged")[-1]
    assert (batch.merged, batch.stale) == (0, 1)
    monkeypatch.setattr("millrace.dashboards.draw.load_boards", lambda _: [None])  # of no kind that can be drawn
    ran = environment.run(model)
    assert (ran.state.is_completed(), ran.result) == (True, 1)
    assert batch.batch_id in {entry.batch_id for entry in environment.ledger("published")}
    assert environment.lake.stat(f"{DASHBOARDS}index.html") == before


def test_results_persist_except_fresh_queries(
    environment: FlowEnvironment, ingested: Ran, merged: dict[str, Ran], published: Ran
) -> None:
    for ran, persisted, repeated in (
        (ingested, {"watch_sync", "await_landing"}, {"start_sync"}),
        (merged["flights"], {"stage_batch", "commit_batch", "announce_merge"}, {"has_pending", "open_batch"}),
        (published, {"build_candidates", "validate_candidates", "publish_marts"}, {"find_merges", "announce_marts"}),
    ):
        keys = environment.result_keys(ran)
        stored = {task for task, key in keys.items() if environment.lake.stat(names.RESULTS + key)}
        assert persisted <= stored
        assert repeated & stored == set()
        assert repeated <= set(keys)


def rows_of(ran: Ran) -> list[tuple[str, str, int]]:
    """Return reason, subject and count of each finding."""
    return [(row["found"], row["where"], row["count"]) for row in ran.tables["reconcile"]]


def test_reconcile_frees_slots_of_dead_runs(environment: FlowEnvironment, published: Ran) -> None:
    environment.settle()
    slot = names.merge_slot(SOURCE, "weather")
    environment.leak(slot)
    ran = environment.run(reconcile)
    assert ran.result == 1
    assert rows_of(ran) == [("slot that no run holds", slot, 1)]
    assert environment.slot(slot) == 0
    again = environment.run(reconcile)
    assert rows_of(again) == []
    wait_until(lambda: environment.api.events(names.RECONCILE_FOUND, environment.began), "the finding is an event")
    payloads = {
        e["payload"]["run_id"]: e["payload"] for e in environment.api.events(names.RECONCILE_FOUND, environment.began)
    }
    assert payloads[ran.id]["shown"] == "1 x slot that no run holds"
    assert again.id not in payloads


@pytest.mark.slow
def test_full_scan_merges_very_late_manifests(environment: FlowEnvironment, published: Ran) -> None:
    environment.settle()
    environment.run(reconcile)
    manifest = land(environment.lake, parquet([airline("ZL", "very late")]))
    late = re.sub(r"/\d{8}/", "/20100101/", manifest)
    environment.lake.create(late, environment.lake.read(manifest))
    environment.lake.delete(manifest)
    assert rows_of(environment.run(reconcile, dry_run=True)) == []
    assert merge(SOURCE, "airlines") == 0
    report = environment.run(reconcile, dry_run=True, full_scan=True)
    assert rows_of(report) == [("landing not merged", f"{SOURCE}.airlines", 1)]
    assert merge(SOURCE, "airlines", full_scan=True) == 1
    assert rows_of(environment.run(reconcile, dry_run=True, full_scan=True)) == [("merge not published", "marts", 1)]


@pytest.mark.slow
def test_work_of_a_live_run_is_not_missing(environment: FlowEnvironment, published: Ran) -> None:
    before = rows_of(environment.run(reconcile, dry_run=True))
    land(environment.lake, parquet([airline("ZM", "being merged")]))
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(merge, parameters={"source": SOURCE, "stream": "airlines"}, state=Running())
        assert rows_of(environment.run(reconcile, dry_run=True)) == before
        client.set_flow_run_state(run.id, Crashed(), force=True)
    assert rows_of(environment.run(reconcile, dry_run=True)) == [
        ("landing not merged", f"{SOURCE}.airlines", 1),
        *before,
    ]


@pytest.fixture(scope="module")
def lacking(environment: FlowEnvironment, published: Ran) -> list[tuple[str, str, int]]:
    """Leave one finding of every kind for reconcile."""
    environment.settle()
    environment.lake.write(names.LAST_FULL_SCAN, b"")
    slot, contract = names.merge_slot(SOURCE, "weather"), environment.source.stream("airlines")
    environment.leak(slot)
    land(environment.lake, parquet([airline("ZX", "merged, not announced, not published")]))
    merge_stream(environment.lake, environment.warehouse, None, contract, limits=Limits(), run_id="no-bus", clock=now)
    land(environment.lake, parquet([airline("ZW", "in a batch without a run")]))
    assert open_batch(environment.lake, environment.warehouse, contract, limits=Limits(), now=now())
    land(environment.lake, parquet([airline("ZY", "landed, not merged")]))
    orphan = f"{names.sync_prefix(SOURCE, 'planes', 700)}0.parquet"
    environment.lake.write(orphan, b"nobody names me")
    job = environment.airbyte.start_job(environment.airbyte.connection(SOURCE)["connectionId"])
    wait_until(lambda: environment.airbyte.job(job).ended, f"job {job} ends")
    return [
        ("slot that no run holds", slot, 1),
        ("sync without a manifest", f"{SOURCE} job {job}", 1),
        ("landing not merged", f"{SOURCE}.airlines", 1),
        ("open batch without a run", f"{SOURCE}.airlines", 1),
        ("merge not announced", f"{SOURCE}.airlines", 1),
        ("merge not published", "marts", 1),
        ("object that no manifest names", names.sync_prefix(SOURCE, "planes", 700), 1),
    ]


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_RECONCILE__ORPHAN_AFTER_H", "0")


def test_dry_run_of_reconcile_only_reports(
    environment: FlowEnvironment, lacking: list[tuple[str, str, int]], no_patience: None
) -> None:
    before, runs = environment.snapshot(), environment.runs()
    ran = environment.run(reconcile, dry_run=True)
    assert ran.result == len(ran.tables["reconcile"])
    assert rows_of(ran) == lacking
    assert ran.tables["reconcile"][-1]["bytes"] == len(b"nobody names me")
    assert ran.tables["reconcile"][-1]["detail"] == "0.parquet"
    assert environment.snapshot() == before
    assert environment.runs() == [*runs, ran.id]


def test_object_may_lack_its_manifest_for_a_day(
    environment: FlowEnvironment, lacking: list[tuple[str, str, int]]
) -> None:
    assert rows_of(environment.run(reconcile, dry_run=True)) == lacking[:-1]


@pytest.mark.slow
def test_airbyte_error_does_not_stop_reconcile(
    environment: FlowEnvironment, lacking: list[tuple[str, str, int]], no_patience: None
) -> None:
    from blocks import MillraceAirbyte
    from cli.deploy.blocks import register_blocks

    proxy = Proxy(environment.stack.ports["airbyte"])
    block = load_block(MillraceAirbyte, block_names.AIRBYTE)
    block.url = f"{proxy.url}/api/public/v1"
    block.save(block_names.AIRBYTE, overwrite=True)
    try:
        with proxy.refusing("GET .*/jobs"):
            ran = environment.run(reconcile, dry_run=True)
    finally:
        register_blocks(load_settings())
        proxy.close()
    failed = ("could not be done", f"find_unlanded {SOURCE}", 1)
    assert rows_of(ran) == [row for row in lacking if row[0] != "sync without a manifest"] + [failed]
    with pytest.raises(ReconcileIncomplete, match=rf"find_unlanded {SOURCE}: AirbyteRefused: .*refused by the test"):
        assert ran.result


@pytest.mark.slow
def test_reconcile_survives_a_missing_deployment(
    environment: FlowEnvironment, lacking: list[tuple[str, str, int]]
) -> None:
    batch = environment.ledger("merged")[-1].batch_id
    assert batch not in [e.batch_id for e in environment.ledger("announced")]
    ran = environment.run(reconcile)
    with pytest.raises(
        ReconcileIncomplete, match=r"SettingsError: deployment merge/merge does not exist; run `millrace deploy d"
    ):
        assert ran.result
    assert environment.slot(names.merge_slot(SOURCE, "weather")) == 0
    assert [e.batch_id for e in environment.ledger("announced")].count(batch) == 1
    assert [m["balance"]["merged"] for m in environment.messages(names.WAREHOUSE_MERGED) if m["batch_id"] == batch] == [
        1
    ]
    left = ("landing not merged", "open batch without a run", "merge not published")
    assert rows_of(environment.run(reconcile, dry_run=True)) == [row for row in lacking if row[0] in left]
