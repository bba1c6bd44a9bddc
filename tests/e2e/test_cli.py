"""The command line on the whole stack: what it shows is true, and what the doctor finds is mended by what it says."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from local.stack.credentials import load_credentials
from local.stack.place import BUCKET, POOL, PROJECT
from millrace.domain import names
from tests.e2e.landing import airline, land, parquet
from tests.e2e.stack import Stack
from tests.support.servers import ROOT, wait_until

Findings = list[dict[str, str]]


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed as JSON."""
        assert self.out, self.err
        return json.loads(self.out)


def millrace(stack: Stack, *commands: str) -> list[Said]:
    """Run command lines as a person would, all in one process."""
    given = json.dumps([["--state", str(stack.state), *shlex.split(command)] for command in commands])
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.commands"],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one for one in found if "SystemExit" not in one[3] and one[3] != "None"] == []
    return [Said(code, out, err) for code, out, err, _ in found]


@pytest.fixture(scope="module")
def said(stack: Stack) -> dict[str, Said]:
    """What commands that change nothing say, on the stack as the tests before left it."""
    return dict(zip(LOOKS, millrace(stack, *LOOKS), strict=True))


def doctor(stack: Stack) -> Findings:
    """What the doctor finds wrong."""
    (done,) = millrace(stack, "doctor --json")
    wrong = [one for one in done.json if one["level"] == "wrong"]
    assert done.code == (1 if wrong else 0), done.err
    return wrong


def mend(findings: Findings) -> None:
    """Do what the doctor says, as it says it."""
    for command in dict.fromkeys(one["mend"] for one in findings):
        ours = command.replace("millrace ", f"{shlex.quote(sys.executable)} -m cli ", 1)
        done = subprocess.run(ours, shell=True, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def delete_subscription(stack: Stack) -> None:
    with grpc.insecure_channel(stack.place.grpc("pubsub")) as channel:
        client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        name = names.gateway_subscription(names.MARTS_PUBLISHED)
        client.delete_subscription(subscription=f"projects/{PROJECT}/subscriptions/{name}")


def delete_notification(stack: Stack) -> None:
    options = {"api_endpoint": stack.place.http("storage")}
    client = storage.Client(PROJECT, credentials=AnonymousCredentials(), client_options=options)
    for notification in client.bucket(BUCKET).list_notifications():
        notification.delete()


def delete_block(stack: Stack) -> None:
    found = stack.http.post("/block_documents/filter", json={}).raise_for_status().json()
    (lake,) = [one for one in found if one["name"] == "lake"]
    stack.http.delete(f"/block_documents/{lake['id']}").raise_for_status()


def pause_pool(stack: Stack) -> None:
    stack.http.patch(f"/work_pools/{POOL}", json={"is_paused": True}).raise_for_status()


def delete_automation(stack: Stack) -> None:
    found = stack.http.post("/automations/filter", json={}).raise_for_status().json()
    (ours,) = [one for one in found if one["name"] == "Millrace: marts were published"]
    stack.http.delete(f"/automations/{ours['id']}").raise_for_status()


def disable_trigger(stack: Stack) -> None:
    deployment = stack.http.get("/deployments/name/rotation/rotation").raise_for_status().json()["id"]
    found = stack.http.get(f"/automations/related-to/prefect.deployment.{deployment}").raise_for_status().json()
    for trigger in found:
        stack.http.patch(f"/automations/{trigger['id']}", json={"enabled": False}).raise_for_status()


def delete_limit(stack: Stack) -> None:
    stack.http.delete(f"/v2/concurrency_limits/{names.merge_slot('airport_ops', 'planes')}").raise_for_status()


LOOKS = (
    "doctor --json",
    "status --json",
    "status",
    "open --print --json",
    "open dashboards --print",
    "open nothing",
    "connections plan airport_ops",
    "secrets list --json",
    "redrive --dry-run --json",
    "replay list --json",
    "start mergers",
    "start merge -p source=5",
)
BREAKS: dict[str, tuple[Callable[[Stack], None], str]] = {
    "subscriptions": (delete_subscription, "no subscription marts-published-gateway"),
    "notifications": (delete_notification, "does not announce _manifests/ on lake-landed"),
    "pools": (pause_pool, "work pool millrace is paused"),
    "automations": (delete_automation, "Millrace: marts were published: is missing"),
    "deployments": (disable_trigger, "rotation: 1 of its 1 triggers are gone or off"),
}


def test_the_doctor_finds_a_healthy_stack_well(said: dict[str, Said]) -> None:
    found = said["doctor --json"].json
    assert [one for one in found if one["level"] == "wrong"] == []
    assert said["doctor --json"].code == 0
    assert {one["check"] for one in found} == {
        "versions",
        "ports",
        "credentials",
        "topics",
        "subscriptions",
        "notifications",
        "prefect",
        "pools",
        "blocks",
        "deployments",
        "automations",
        "connections",
    }


def test_status_shows_what_the_ledger_has_and_json_has_it_all(stack: Stack, said: dict[str, Said]) -> None:
    told = said["status --json"].json
    assert {one["server"] for one in told["servers"] if one["answers"]} == {*stack.place.ports, "worker"}
    merged: dict[str, int] = {}
    for entry in stack.platform.warehouse.ledger(kinds=("merged",)):
        merged[entry.stream] = merged.get(entry.stream, 0) + entry.merged
    assert {one["stream"]: one["balance"]["merged"] for one in told["status"]["streams"]} == merged
    shown = said["status"].out
    for stream, rows in merged.items():
        assert f"airport_ops.{stream}" in shown
        assert f"{rows:,}" in shown
    assert [one.code for one in (said["status --json"], said["status"])] == [0, 0]


def test_pages_are_opened_by_name_and_those_in_the_lake_are_there(said: dict[str, Said]) -> None:
    found = said["open --print --json"].json
    assert {"status", "dashboards", "quality", "dbt", "prefect", "slack", "airbyte"} == set(found)
    for name in ("dashboards", "quality", "dbt", "slack", "airbyte"):
        assert httpx.get(found[name], follow_redirects=True).status_code == 200, name
    assert said["open dashboards --print"].out.strip() == found["dashboards"]
    assert said["open nothing"].code == 1
    assert said["open nothing"].err.startswith("error: SettingsError: no page 'nothing'; there are status,")


def test_connections_and_secrets_are_shown_without_a_value(stack: Stack, said: dict[str, Said]) -> None:
    plan, listed = said["connections plan airport_ops"], said["secrets list --json"]
    assert (plan.code, listed.code) == (0, 0)
    assert "= connection airport_ops" in plan.out
    values = load_credentials(stack.place)
    assert {one["secret"] for one in listed.json} == {*values, "slack-webhook-url"} - {"slack-token"}
    assert [name for name, value in values.items() if value in plan.out + listed.out] == []


def test_what_waits_is_listed(stack: Stack, said: dict[str, Said]) -> None:
    refused = {o.object for s in stack.platform.source.streams.values() for o in stack.platform.warehouse.refused(s)}
    assert {one["object"] for one in said["redrive --dry-run --json"].json} == refused
    assert said["replay list --json"].code == 0
    assert isinstance(said["replay list --json"].json, list)


def test_a_run_that_can_not_be_started_is_named(said: dict[str, Said]) -> None:
    missing, refused = said["start mergers"], said["start merge -p source=5"]
    assert (missing.code, refused.code) == (1, 1)
    assert "no flow 'mergers' is deployed; there are " in missing.err
    assert refused.err.startswith('error: EventRefused: merge does not take {"source": 5}: ')


@pytest.mark.long
def test_the_doctor_finds_all_that_is_broken_and_what_it_says_mends_it(stack: Stack) -> None:
    for break_it, _ in BREAKS.values():
        break_it(stack)
    found = doctor(stack)
    mend(found)  # before anything fails here: the tests that follow need the stack
    assert {one["check"] for one in found} == BREAKS.keys()
    for one in found:
        assert BREAKS[one["check"]][1] in one["what"]
    assert doctor(stack) == []


@pytest.mark.long
def test_a_block_and_a_limit_that_are_gone_are_found_and_registered_again(stack: Stack) -> None:
    delete_limit(stack)
    (found,) = doctor(stack)
    assert "no concurrency limit merge.airport_ops.planes" in found["what"]
    delete_block(stack)
    found, *_ = [one for one in doctor(stack) if one["check"] == "blocks"]
    assert "Prefect has no block millrace-lake/lake" in found["what"]
    assert found["mend"] == f"millrace --state {stack.state} mend blocks"
    mend([found])
    assert doctor(stack) == []


@pytest.mark.long
def test_what_is_in_quarantine_is_let_in_again(stack: Stack) -> None:
    contract = stack.platform.source.stream("airlines")
    with stack.by_hand():
        land(stack.platform.lake, parquet([airline(None, "nobody")]))
        assert stack.run("merge/merge", source="airport_ops", stream="airlines").state == "COMPLETED"
        (before,) = [o for o in stack.platform.warehouse.refused(contract) if o.attempts == 1]
        (done,) = millrace(stack, f"redrive airport_ops.airlines --object {before.object}")
        assert (done.code, "completed" in done.out) == (0, True), done.err

        def attempts() -> list[int]:
            return [o.attempts for o in stack.platform.warehouse.refused(contract) if o.object == before.object]

        wait_until(lambda: attempts() == [2], "the object is merged once more", 120)
