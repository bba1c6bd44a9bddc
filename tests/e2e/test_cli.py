"""The command line on the whole stack: its output is true, and the doctor's commands repair what it found."""

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
from local.stack.local_stack import BUCKET, POOL, PROJECT
from millrace.domain import names
from millrace.domain.ledger import EVER
from tests.e2e.landing import airline, land, parquet
from tests.e2e.stack import Stack
from tests.support.servers import ROOT, wait_until

pytestmark = [pytest.mark.demo, pytest.mark.slow]

Findings = list[dict[str, str]]


@dataclass(frozen=True)
class Result:
    """The end of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return its output as JSON."""
        assert self.out, self.err
        return json.loads(self.out)


def millrace(stack: Stack, *commands: str) -> list[Result]:
    """Run command lines in one process."""
    arguments = json.dumps([["--state", str(stack.state), *shlex.split(command)] for command in commands])
    process = subprocess.run(
        [sys.executable, "-m", "tests.e2e.commands"],
        cwd=ROOT,
        input=arguments,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert process.returncode == 0, process.stderr
    reports = json.loads(process.stdout)
    assert [report for report in reports if "SystemExit" not in report[3] and report[3] != "None"] == []
    return [Result(code, out, err) for code, out, err, _ in reports]


@pytest.fixture(scope="module")
def results(stack: Stack) -> dict[str, Result]:
    """Run all commands that change nothing, on the stack as the tests before left it."""
    return dict(zip(LOOKS, millrace(stack, *LOOKS), strict=True))


def doctor(stack: Stack) -> Findings:
    """Return the findings of the doctor with level `bad`."""
    (result,) = millrace(stack, "doctor --json")
    bad = [item for item in result.json if item["level"] == "bad"]
    assert result.code == (1 if bad else 0), result.err
    return bad


def repair(findings: Findings) -> None:
    """Run the doctor's commands."""
    for command in dict.fromkeys(finding["repair"] for finding in findings):
        ours = command.replace("millrace ", f"{shlex.quote(sys.executable)} -m cli ", 1)
        process = subprocess.run(ours, shell=True, cwd=ROOT, capture_output=True, text=True)
        assert process.returncode == 0, process.stdout + process.stderr


def delete_subscription(stack: Stack) -> None:
    with grpc.insecure_channel(stack.local.grpc("pubsub")) as channel:
        client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        name = names.gateway_subscription(names.MARTS_PUBLISHED)
        client.delete_subscription(subscription=f"projects/{PROJECT}/subscriptions/{name}")


def delete_notification(stack: Stack) -> None:
    options = {"api_endpoint": stack.local.http("storage")}
    client = storage.Client(PROJECT, credentials=AnonymousCredentials(), client_options=options)
    for notification in client.bucket(BUCKET).list_notifications():
        notification.delete()


def delete_block(stack: Stack) -> None:
    blocks = stack.http.post("/block_documents/filter", json={}).raise_for_status().json()
    (lake,) = [item for item in blocks if item["name"] == "lake"]
    stack.http.delete(f"/block_documents/{lake['id']}").raise_for_status()


def pause_pool(stack: Stack) -> None:
    stack.http.patch(f"/work_pools/{POOL}", json={"is_paused": True}).raise_for_status()


def delete_automation(stack: Stack) -> None:
    automations = stack.http.post("/automations/filter", json={}).raise_for_status().json()
    (ours,) = [item for item in automations if item["name"] == "Millrace: marts were published"]
    stack.http.delete(f"/automations/{ours['id']}").raise_for_status()


def disable_trigger(stack: Stack) -> None:
    deployment = stack.http.get("/deployments/name/rotation/rotation").raise_for_status().json()["id"]
    triggers = stack.http.get(f"/automations/related-to/prefect.deployment.{deployment}").raise_for_status().json()
    for trigger in triggers:
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
    "dead-letters list --json",
    "start mergers",
    "start merge -p source=5",
)
BREAKS: dict[str, tuple[Callable[[Stack], None], str]] = {
    "subscriptions": (delete_subscription, "no subscription marts-published-gateway"),
    "notifications": (delete_notification, "does not announce _manifests/ on lake-landed"),
    "pools": (pause_pool, "work pool millrace is paused"),
    "automations": (delete_automation, "Millrace: marts were published: is missing"),
    "deployments": (disable_trigger, "rotation: 1 of its 1 triggers are missing or disabled"),
}


def test_doctor_passes_a_healthy_stack(results: dict[str, Result]) -> None:
    findings = results["doctor --json"].json
    assert [finding for finding in findings if finding["level"] == "bad"] == []
    assert results["doctor --json"].code == 0
    assert {finding["check"] for finding in findings} == {
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
        "pauses",
        "project",
    }


def test_status_and_its_json_match_the_ledger(stack: Stack, results: dict[str, Result]) -> None:
    document = results["status --json"].json
    assert {item["server"] for item in document["servers"] if item["answers"]} == {*stack.local.ports, "worker"}
    merged: dict[str, int] = {}
    for entry in stack.platform.warehouse.ledger(EVER, kinds=("merged",)):
        merged[entry.stream] = merged.get(entry.stream, 0) + entry.merged
    assert {item["stream"]: item["balance"]["merged"] for item in document["status"]["streams"]} == merged
    shown = results["status"].out
    for stream, rows in merged.items():
        assert f"airport_ops.{stream}" in shown
        assert f"{rows:,}" in shown
    assert [item.code for item in (results["status --json"], results["status"])] == [0, 0]


def test_pages_open_by_name_and_exist_in_the_lake(results: dict[str, Result]) -> None:
    pages = results["open --print --json"].json
    assert {"status", "dashboards", "quality", "dbt", "prefect", "slack", "airbyte"} == set(pages)
    for name in ("dashboards", "quality", "dbt", "slack", "airbyte"):
        assert httpx.get(pages[name], follow_redirects=True).status_code == 200, name
    assert results["open dashboards --print"].out.strip() == pages["dashboards"]
    assert results["open nothing"].code == 1
    assert results["open nothing"].err.startswith(
        "error: SettingsError: no page is named 'nothing'; expected one of status,"
    )


def test_connections_and_secrets_show_no_values(stack: Stack, results: dict[str, Result]) -> None:
    plan, listed = results["connections plan airport_ops"], results["secrets list --json"]
    assert (plan.code, listed.code) == (0, 0)
    assert "= connection airport_ops" in plan.out
    values = load_credentials(stack.local)
    assert {item["secret"] for item in listed.json} == {*values, "slack-webhook-url"} - {"slack-token"}
    assert [name for name, value in values.items() if value in plan.out + listed.out] == []


def test_pending_objects_are_listed(stack: Stack, results: dict[str, Result]) -> None:
    refused = {
        o.object
        for s in stack.platform.source.streams.values()
        for o in stack.platform.warehouse.quarantined_objects(s)
    }
    assert {item["object"] for item in results["redrive --dry-run --json"].json} == refused
    assert results["dead-letters list --json"].code == 0
    assert isinstance(results["dead-letters list --json"].json, list)


def test_unstartable_run_is_named(results: dict[str, Result]) -> None:
    missing, refused = results["start mergers"], results["start merge -p source=5"]
    assert (missing.code, refused.code) == (1, 1)
    assert "no flow named 'mergers' is deployed; expected one of " in missing.err
    assert refused.err.startswith("error: UnknownStream: no source '5' in sources/; there are ")


@pytest.mark.long
def test_doctor_finds_faults_and_its_fixes_work(stack: Stack) -> None:
    for break_it, _ in BREAKS.values():
        break_it(stack)
    findings = doctor(stack)
    repair(findings)  # before anything fails here: the tests that follow need the stack
    assert {finding["check"] for finding in findings} == BREAKS.keys()
    for finding in findings:
        assert BREAKS[finding["check"]][1] in finding["message"]
    assert doctor(stack) == []


@pytest.mark.long
def test_missing_block_and_limit_are_recreated(stack: Stack) -> None:
    delete_limit(stack)
    (finding,) = doctor(stack)
    assert "no concurrency limit merge.airport_ops.planes" in finding["message"]
    delete_block(stack)
    finding, *_ = [item for item in doctor(stack) if item["check"] == "blocks"]
    assert "Prefect has no block millrace-lake/lake" in finding["message"]
    assert finding["repair"] == f"millrace --state {stack.state} repair blocks"
    repair([finding])
    assert doctor(stack) == []


@pytest.mark.long
def test_quarantined_object_is_redriven(stack: Stack) -> None:
    contract = stack.platform.source.stream("airlines")
    with stack.by_hand():
        land(stack.platform.lake, parquet([airline(None, "nobody")]))
        assert stack.run("merge/merge", source="airport_ops", stream="airlines").state == "COMPLETED"
        (before,) = [o for o in stack.platform.warehouse.quarantined_objects(contract) if o.attempts == 1]
        (result,) = millrace(stack, f"redrive airport_ops.airlines --object {before.object}")
        assert (result.code, "completed" in result.out) == (0, True), result.err

        def attempts() -> list[int]:
            return [
                o.attempts for o in stack.platform.warehouse.quarantined_objects(contract) if o.object == before.object
            ]

        wait_until(lambda: attempts() == [2], "the object is merged once more", 120)
