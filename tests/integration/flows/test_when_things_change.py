"""The flows after changes of secrets, connections, sources and data, in the environment of `test_flows.py`."""

import os
import re
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Running
from prefect_slack import SlackWebhook

from beam_job.lease import Lease, merge_lease
from blocks import names as block_names
from blocks.load import load_block
from flows.connections import connections
from flows.ingest import ingest
from flows.merge import merge
from flows.model import model
from flows.rotation import rotation
from flows.show import show
from local.stack.local_stack import PROJECT
from millrace.domain import names
from millrace.domain.errors import AirbyteRefused, QualityFailed
from tasks.ingest.webhook_error import webhook_error
from tasks.reconcile.end_dead_runs import HEARTBEAT, TAG, dead_runs
from tests.e2e.landing import airline, land, parquet
from tests.integration.flows.conftest import STREAMS
from tests.support.added_source import follow
from tests.support.flow_environment import SOURCE, FlowEnvironment, Ran
from tests.support.scripted_airbyte import secret_manager
from tests.support.servers import server, wait_until

pytestmark = pytest.mark.demo

NOWHERE = "XXX"


def test_all_jobs_of_a_connection_are_listed(environment: FlowEnvironment, ingested: Ran) -> None:
    connection = environment.airbyte.connection(SOURCE)["connectionId"]
    assert [job.id for job in environment.airbyte.jobs_of(connection, limit=1)] == environment.jobs()


def test_rotation_updates_slack_and_lists_secrets(environment: FlowEnvironment, published: Ran) -> None:
    assert environment.run(rotation).result == 0
    parent = f"projects/{PROJECT}/secrets"
    with secret_manager(environment.stack.ports["secrets"]) as manager:
        slack = f"{parent}/slack-webhook-url"
        old = manager.get_secret_version(name=f"{slack}/versions/latest").name
        url = "http://127.0.0.1:9/services/rotated"
        manager.add_secret_version(parent=slack, payload={"data": url.encode()})
        manager.disable_secret_version(name=old)
        unusable = manager.get_secret_version(name=f"{parent}/airbyte-hmac-id/versions/latest").name
        manager.disable_secret_version(name=unusable)
        try:
            ran = environment.run(rotation)
        finally:
            manager.enable_secret_version(name=unusable)
    assert ran.result == 1
    assert load_block(SlackWebhook, block_names.SLACK).url.get_secret_value() == url
    reasons = {row["secret"]: row["reason to rotate"] for row in ran.tables["secrets"]}
    assert {name: reason for name, reason in reasons.items() if reason} == {
        "airbyte-hmac-id": "has its newest version disabled"
    }
    assert set(reasons) >= {"airbyte-client-id", "airbyte-client-secret", "slack-webhook-url", "airport-ops-password"}


def test_changed_connections_are_reset(environment: FlowEnvironment, published: Ran) -> None:
    assert environment.run(connections).result == "applied: 0 to create, 0 to change, 4 that agree, 0 to delete"
    connection = environment.airbyte.connection(SOURCE)["connectionId"]
    environment.airbyte.call("PATCH", f"/connections/{connection}", json={"status": "inactive"})
    with pytest.raises(AirbyteRefused, match="is inactive, so it starts no sync"):
        environment.run(ingest, source=SOURCE).result  # noqa: B018  raises the flow's error
    dry = environment.run(connections, dry_run=True)
    assert dry.result == "planned: 0 to create, 1 to change, 3 that agree, 0 to delete"
    (row,) = [row for row in dry.tables["connections"] if row["action"] == "update"]
    assert row["differs"] == 'status: "inactive" → "active"'
    environment.run(connections)
    assert environment.airbyte.connection(SOURCE)["status"] == "active"


def test_webhook_supplies_the_failure_reason(environment: FlowEnvironment, ingested: Ran) -> None:
    resource = {"prefect.resource.id": f"millrace.source.{SOURCE}"}
    payload = {"v": 1, "source": SOURCE, "job_id": 4242, "succeeded": False, "error": "no route to host"}
    emit_event("sync.completed", resource=resource, payload=payload)
    assert webhook_error(SOURCE, 4242, patience_s=30) == "no route to host"
    assert webhook_error(SOURCE, 4243, patience_s=0) == ""


def test_sync_shows_its_rows_bytes_and_rate(environment: FlowEnvironment, ingested: Ran) -> None:
    (text,) = environment.progress(ingested)
    assert re.fullmatch(r"Sync \d+ of airport_ops: succeeded, [\d,]+ rows, [\d.,]+ MB, [\d,]+ rows/s", text)
    assert " 0 rows," not in text


@pytest.mark.connectors
def test_documented_way_to_add_a_source_works(environment: FlowEnvironment, published: Ran, tmp_path: Path) -> None:
    with server("notices", tmp_path / "notices") as port:
        outputs = {outputs.command: outputs.output for outputs in follow(tmp_path, port, path_environment())}
        plan = outputs["millrace connections plan notices"]
        assert re.findall(r"^\+ (\w+) notices$", plan, re.MULTILINE) == ["manifest", "source", "connection"]
        assert "applied: 3 to create, 0 to change, 1 that agree" in outputs["millrace connections apply notices"]
        assert environment.query("SELECT count(*), max(updated_at) FROM raw_notices.notices_live") == [
            (120, datetime(2013, 1, 5, 23, tzinfo=UTC))
        ]
        stats = httpx.get(f"http://127.0.0.1:{port}/stats").json()
        assert stats["refused"] >= 1, "a request was one too many"
        assert stats["answered"] >= 3, "and asked again"
        new = {"id": 7, "airport": "JFK", "text": "open again", "updated_at": "2013-02-01T00:00:00Z"}
        httpx.post(f"http://127.0.0.1:{port}/notices", json=new, headers={"Authorization": "Bearer notices"})
        job = environment.airbyte.start_job(environment.airbyte.connection("notices")["connectionId"])
        wait_until(lambda: environment.airbyte.job(job).ended, "the second sync ends", 60)
        assert httpx.get(f"http://127.0.0.1:{port}/stats").json()["since"] == "2013-01-05T23:00:00Z"
        ended = environment.airbyte.job(job)
        assert (ended.status, ended.rows) == ("succeeded", 2), "the newest one again, and the new one"


def path_environment() -> dict[str, str]:
    """Return this process's environment, with its Python first on the path and its Prefect server."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PREFECT_API_URL": PREFECT_API_URL.value(), "MILLRACE_CONFIG": "local"}


def test_second_ingest_lands_only_changes(environment: FlowEnvironment, ingested: Ran) -> None:
    environment.change("UPDATE airlines SET name = 'Renamed' WHERE carrier = 'AA'")
    environment.change("DELETE FROM airports WHERE faa = '04G'")
    ran = environment.run(ingest, source=SOURCE)
    table = {row["stream"]: row for row in ran.tables["landed-airport-ops"]}
    assert {stream: row["rows"] for stream, row in table.items()} == dict.fromkeys(STREAMS, 0) | {
        "airlines": 1,
        "airports": 1,
    }
    (renamed,) = environment.landed(table["airlines"]["manifest"])
    assert (renamed["carrier"], renamed["name"]) == ("AA", "Renamed")
    (deleted,) = environment.landed(table["airports"]["manifest"])
    assert deleted["faa"] == "04G"
    assert deleted["_ab_cdc_deleted_at"]
    assert table["flights"]["manifest"] in environment.manifests("flights", empty=True)


@pytest.mark.slow
@pytest.mark.parametrize("held", ["slot", "lease"])
def test_merge_without_slot_or_lease_hands_over(
    environment: FlowEnvironment, merged: dict[str, Ran], held: str
) -> None:
    land(environment.lake, parquet([airline("ZZ", "handed over")]))
    waiting = environment.pending("airlines")
    with (
        concurrency(names.merge_slot(SOURCE, "airlines"), occupy=1, strict=True)
        if held == "slot"
        else merge_lease(environment.lake, SOURCE, "airlines", "a command")
    ):
        assert environment.run(merge, source=SOURCE, stream="airlines").result == 0
        assert environment.pending("airlines") == waiting
    assert environment.run(merge, source=SOURCE, stream="airlines").result >= 1
    assert environment.pending("airlines") == []
    assert environment.query(f"SELECT name FROM raw_{SOURCE}.airlines_live WHERE carrier = 'ZZ'") == [("handed over",)]


@pytest.mark.slow
def test_merge_without_its_lease_commits_nothing(
    environment: FlowEnvironment, merged: dict[str, Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(environment.lake, parquet([airline("ZY", "taken over")]))
    answers, asked = [False, True], list[int]()

    def is_held(lease: Lease) -> bool:
        asked.append(len(environment.pending("airlines")))
        return answers.pop(0)

    monkeypatch.setattr(Lease, "is_held", is_held)
    assert environment.run(merge, source=SOURCE, stream="airlines").result == 1
    assert asked == [1, 1], "the first attempt committed something"
    assert environment.query(f"SELECT name FROM raw_{SOURCE}.airlines_live WHERE carrier = 'ZY'") == [("taken over",)]


@pytest.mark.slow
def test_marts_stay_unchanged_until_data_is_fixed(environment: FlowEnvironment, published: Ran) -> None:
    before, readers_see = (
        environment.marts("SELECT * FROM marts.fct_flights ORDER BY 1"),
        environment.stack.marts.stat(),
    )
    environment.change(
        "INSERT INTO flights (flight_date, carrier, flight, origin, dest, distance, scheduled_departure, status)"
        " VALUES ('2013-01-02', 'UA', 9999, ?, 'ORD', 700, '2013-01-02T15:00:00Z', 'scheduled')",
        NOWHERE,
    )
    _take_flights(environment)
    publications = len(environment.ledger("published"))
    refused = environment.run(model)
    with pytest.raises(QualityFailed, match=r"fct_flights\.origin: expect_column_values_to_be_in_set, saw 1 of"):
        assert refused.result
    (failed,) = [row for row in refused.tables["quality"] if row["success"] == "False" and row["severity"] == "stop"]
    assert (failed["suite"], failed["column"], failed["sample"]) == ("fct_flights", "origin", f"('{NOWHERE}',)")
    assert environment.marts("SELECT * FROM marts.fct_flights ORDER BY 1") == before
    assert environment.stack.marts.stat() == readers_see
    assert len(environment.ledger("published")) == publications

    assert environment.run(show).state.is_completed()
    (page,) = [
        info.name
        for info in environment.lake.list(f"{names.SITE}quality/validations/fct_flights/")
        if ".html" in info.name
    ]
    assert NOWHERE in environment.lake.read(page).decode(), "the docs of the refused candidate replaced those before"
    assert "stops its marts" in environment.lake.read(f"{names.SITE}quality/index.html").decode()

    again = environment.run(model)  # as reconcile does, every quarter of an hour
    assert (again.state.name, again.state.is_failed()) == ("Refused", True)

    environment.change("DELETE FROM flights WHERE origin = ?", NOWHERE)
    _take_flights(environment)
    repaired = environment.run(model)
    assert repaired.result >= 2
    assert len(environment.ledger("published")) == publications + repaired.result
    assert environment.marts("SELECT * FROM marts.fct_flights ORDER BY 1") == before
    wait_until(lambda: environment.api.events(names.QUALITY_FAILED, environment.began), "the failure is an event")
    (event,) = environment.api.events(names.QUALITY_FAILED, environment.began)
    assert event["payload"]["run_id"] == refused.id  # and not the second one: it is announced once
    assert "fct_flights.origin" in event["payload"]["expectations"]


@pytest.mark.slow
def test_gate_history_shows_failures_and_recovery(environment: FlowEnvironment) -> None:
    """Runs after `test_marts_stay_unchanged_until_data_is_fixed`."""
    condition = "suite = 'fct_flights' AND \"column\" = 'origin'"
    history = environment.query(
        f'SELECT success, observed, sample, severity, "by", run_id FROM ops.quality WHERE {condition} ORDER BY "at"'
    )
    newest = history[-3:]
    assert [row[0] for row in newest] == [False, False, True]
    _, observed, sample, severity, by, _ = newest[0]
    assert (sample, severity, by) == ([NOWHERE], "stop", "model")
    assert observed.startswith("1 of ")
    assert len({row[5] for row in newest}) == 3
    wait_until(lambda: environment.api.events(names.QUALITY_RECOVERED, environment.began), "the recovery is an event")
    (event,) = environment.api.events(names.QUALITY_RECOVERED, environment.began)
    assert event["payload"]["run_id"] == newest[2][5]
    assert "fct_flights.origin" in event["payload"]["expectations"]


def _take_flights(environment: FlowEnvironment) -> None:
    """Ingest, and merge the changed flights."""
    ingest(SOURCE)
    assert merge(SOURCE, "flights") == 1


@pytest.mark.slow
def test_run_without_heartbeat_is_dead(environment: FlowEnvironment) -> None:
    with get_client(sync_client=True) as client:
        silent, beating, foreign = (
            client.create_flow_run(merge, name=name, state=Running(), tags=tags)
            for name, tags in (("silent", [TAG]), ("beating", [TAG]), ("of others", []))
        )
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(0.5):
                emit_event(HEARTBEAT, resource={"prefect.resource.id": f"prefect.flow-run.{beating.id}"})

        beats = threading.Thread(target=beat)
        beats.start()
        try:
            dead_ids = lambda: [run.id for run in dead_runs(client, 4.0, own="")]  # noqa: E731
            wait_until(lambda: dead_ids() == [silent.id], "only the silent one is dead", 60)
        finally:
            stop.set()
            beats.join()
            for run in (silent, beating, foreign):
                client.set_flow_run_state(run.id, Completed(), force=True)
        assert dead_runs(client, 0.1, own="") == []
