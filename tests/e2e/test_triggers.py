"""The deployed triggers: a burst of events, a second deployment and payloads with missing fields."""

import json
import uuid
from datetime import datetime
from typing import Any

import grpc
import pytest
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from local.demo.prefect import ACTION_FAILED
from local.stack.local_stack import PROJECT
from millrace.domain import names
from tests.e2e.landing import SOURCE
from tests.e2e.stack import Stack, now
from tests.support.pushes import landed
from tests.support.servers import wait_until

pytestmark = [pytest.mark.demo, pytest.mark.long]

STORM = 300
PAYLOAD = {"v": 1, "source": SOURCE, "stream": "planes", "job_id": 1, "object": "_manifests/x", "generation": "1"}


def runs(stack: Stack, flow: str, since: datetime) -> list[dict[str, Any]]:
    """Runs of a flow that automations made."""
    query = {
        "flow_runs": {"expected_start_time": {"after_": since.isoformat()}},
        "flows": {"name": {"any_": [flow]}},
    }
    flow_runs = stack.http.post("/flow_runs/filter", json=query).raise_for_status().json()
    return [run for run in flow_runs if (run.get("created_by") or {}).get("type") == "AUTOMATION"]


def emit_events(stack: Stack, name: str, resource: str, *payloads: dict[str, Any]) -> None:
    """Events at Prefect, as the gateway posts those that need a run."""
    events = [
        {
            "id": str(uuid.uuid4()),
            "event": name,
            "occurred": now().isoformat(),
            "related": [],
            "payload": payload,
            "resource": {"prefect.resource.id": resource, names.RUN_LABEL: names.NEEDED},
        }
        for payload in payloads
    ]
    stack.http.post("/events", json=events).raise_for_status()


def settle(stack: Stack, flow: str, since: datetime) -> list[dict[str, Any]]:
    """Wait until the runs of a flow have ended; returns them."""
    wait_until(lambda: runs(stack, flow, since), f"{flow} is started by an event", 60)
    for run in runs(stack, flow, since):
        stack.ended(run["id"])
    return runs(stack, flow, since)


def answered(stack: Stack) -> list[str]:
    """By message that the gateway took as a landing: the event that stands for it."""
    log = stack.local.state / "logs" / "gateway.log"
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"gateway.accepted"' in line]
    return [line["event_id"] for line in lines if line["topic"] == names.LAKE_LANDED]


def test_storm_of_messages_becomes_few_runs(stack: Stack) -> None:
    since, local = now(), stack.local
    before = len(answered(stack))
    path = f"_manifests/{SOURCE}/planes/20130101/c-1-000000000001.json"
    messages = [PubsubMessage(data=sent.data, attributes=sent.attributes) for sent in [landed(path)] * STORM]
    with grpc.insecure_channel(local.grpc("pubsub")) as channel:
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        publisher.publish(topic=f"projects/{PROJECT}/topics/{names.LAKE_LANDED}", messages=messages)

    wait_until(lambda: len(answered(stack)) >= before + STORM, f"all {STORM} messages are taken", 120)
    events = set(answered(stack)[before:])
    assert len(events) <= STORM // 10

    def received() -> int:
        body = {"filter": {"id": {"id": sorted(events)}}, "limit": 1}
        return int(stack.http.post("/events/filter", json=body).raise_for_status().json()["total"])

    wait_until(lambda: received() == len(events), "Prefect has each event that stands for them", 60)
    merges = settle(stack, "merge", since)
    assert 1 <= len(merges) <= 1 + STORM // 20, f"{len(merges)} runs"
    assert {run["state_type"] for run in merges} == {"COMPLETED"}


@pytest.mark.parametrize("missing", ["all", "one after the other"])
def test_payload_with_missing_fields_starts_run(stack: Stack, missing: str) -> None:
    since = now()
    lacking = [{k: v for k, v in PAYLOAD.items() if k != field} for field in PAYLOAD] if missing != "all" else [{}]
    emit_events(stack, "lake.landed", names.stream_resource(SOURCE, "planes"), *lacking)
    merges = settle(stack, "merge", since)
    complete = ({"source": SOURCE, "stream": "planes"}, "COMPLETED")
    assert [(run["parameters"], run["state_type"]) for run in merges] == [complete] * len(lacking)


def test_invalid_resource_is_reported_and_skipped(stack: Stack) -> None:
    since = now()
    emit_events(stack, "lake.landed", "millrace.stream.nonsense", PAYLOAD)
    wait_until(lambda: stack.platform.api.events(ACTION_FAILED, since), "the failed action is an event", 60)
    stack.wait_for_message("run-deployment", since=since)
    assert runs(stack, "merge", since) == []
    emit_events(stack, "lake.landed", names.stream_resource(SOURCE, "planes"), PAYLOAD)
    assert [run["state_type"] for run in settle(stack, "merge", since)] == ["COMPLETED"]


def test_redeployed_triggers_are_no_duplicates(stack: Stack) -> None:
    def triggers() -> list[tuple[str, str]]:
        automations = stack.http.post("/automations/filter", json={}).raise_for_status().json()
        return sorted((a["name"], str(a["trigger"].get("expect"))) for a in automations)

    before = triggers()
    stack.administer("deploy", "deployments")
    assert triggers() == before
    since = now()
    emit_events(stack, "lake.landed", names.stream_resource(SOURCE, "planes"), PAYLOAD)
    assert [run["state_type"] for run in settle(stack, "merge", since)] == ["COMPLETED"]
