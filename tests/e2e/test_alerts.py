"""Alerts in the Slack inbox, and runs that start by a message, on the whole stack."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import grpc
import httpx
import pytest
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from local.stack.credentials import load_credentials
from local.stack.local_stack import PROJECT
from millrace.domain import names
from millrace.domain.events import IngestRequested
from millrace.events.bus import EventBus
from tests.e2e.landing import airline, land, parquet
from tests.e2e.stack import Stack, now
from tests.support.servers import wait_until

pytestmark = [pytest.mark.demo, pytest.mark.long]

SOURCE, STREAM = "airport_ops", {"source": "airport_ops", "stream": "airlines"}
SILENCE_S = 10


def publish(stack: Stack, topic: str, data: object = None, **attributes: str) -> None:
    body = b"" if data is None else json.dumps(data).encode()
    with grpc.insecure_channel(stack.local.grpc("pubsub")) as channel:
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        message = PubsubMessage(data=body, attributes=attributes)
        publisher.publish(topic=f"projects/{PROJECT}/topics/{topic}", messages=[message])


def emit(stack: Stack, name: str, resource: dict[str, str], **payload: Any) -> None:
    import uuid

    event = {
        "id": str(uuid.uuid4()),
        "event": name,
        "occurred": now().isoformat(),
        "resource": resource,
        "payload": payload,
    }
    stack.http.post("/events", json=[event]).raise_for_status()


def runs_of(stack: Stack, flow: str, since: datetime) -> list[Any]:
    return [run for run in stack.platform.api.runs(since) if run.flow == flow and not run.active]


def announce_version(stack: Stack, secret: str) -> None:
    """Publish a new version's event as Secret Manager does, and wait until the version is in use."""
    since = now()
    publish(stack, names.SECRET_ROTATED, secretId=f"projects/1/secrets/{secret}", eventType="SECRET_VERSION_ADD")
    wait_until(lambda: runs_of(stack, "rotation", since), "the block is refreshed", 60)
    (refreshed,) = runs_of(stack, "rotation", since)
    assert refreshed.state == "COMPLETED"


@contextmanager
def garbage(stack: Stack) -> Iterator[None]:
    """Put an invalid manifest into the lake meanwhile: every merge of the stream fails."""
    path = f"{names.manifests_prefix(**STREAM)}{now():%Y%m%d}/x-000000000001.json"
    stack.platform.lake.write(path, b"garbage")
    try:
        yield
    finally:
        stack.platform.lake.delete(path)


@pytest.fixture(scope="module")
def silent(stack: Stack) -> datetime:
    """A stream of which nothing came for as long as its contract allows."""
    import yaml

    from tests.support.servers import ROOT

    text = (ROOT / "automations" / "streams" / "stale.yaml").read_text()
    automations = stack.http.post("/automations/filter", json={}).raise_for_status().json()
    (like,) = [a for a in automations if a["name"] == f"Millrace: no new data of {SOURCE}.flights"]
    assert like["trigger"]["within"] == 36 * 3600
    automation = yaml.safe_load(
        text.replace("${freshness_s}", str(SILENCE_S))
        .replace("${stream}", "shop.orders")
        .replace("${resource}", "millrace.stream.shop.orders")
        .replace("${freshness}", "10s")
        .replace("${owner}", "the shop")
        .replace("${slack}", like["actions"][0]["block_document_id"])
        .replace("${ui}", "http://ui")
        .replace("${runbook}", "docs/operations/alerts.md")
    )
    stack.http.post("/automations/", json=automation).raise_for_status()
    since = now()
    begin_silence(stack)
    return since


def begin_silence(stack: Stack) -> None:
    """The last data of the stream."""
    emit(stack, names.STREAM_MERGED, {"prefect.resource.id": "millrace.stream.shop.orders", "millrace.stale": "no"})


def wait_for_silence(stack: Stack, since: datetime) -> None:
    """Wait for the alert; Prefect activates an automation a moment after it was created, and may miss an event."""

    def alerted() -> bool:
        return any("shop.orders: no new data for 10s" in text for text in stack.messages(since))

    for _ in range(3):
        with suppress(AssertionError):
            return wait_until(alerted, "the stale stream is alerted", 6 * SILENCE_S)
        begin_silence(stack)
    raise AssertionError("the stale stream was not alerted")


def test_failure_alerts_once_and_recovers_once(stack: Stack, silent: datetime) -> None:
    since = now()
    with stack.by_hand():
        with garbage(stack):
            failed = [stack.run("merge/merge", **STREAM) for _ in range(2)]
        assert [run.state for run in failed] == ["FAILED", "FAILED"]
        assert stack.run("merge/merge", **STREAM).state == "COMPLETED"
        well = stack.wait_for_message("Recovered: merge airport_ops.airlines", since=since)
    assert "The run before it had failed (EventRefused); this one completed" in well
    (alert,) = [text for text in stack.messages(since) if "failed" in text.splitlines()[0]]
    assert alert.startswith(":red_circle: merge failed: merge airport_ops.airlines (EventRefused)")
    assert "is not a landing manifest" in alert
    assert f"<{stack.local.http('prefect')}/runs/flow-run/{failed[0].id}|Open the run>" in alert
    assert "docs/operations/alerts.md#millrace-a-flow-run-failed" in alert


def test_reconcile_publishes_unannounced_landings(stack: Stack) -> None:
    with stack.by_hand():
        land(stack.platform.lake, parquet([airline("ZR", "by reconcile alone")]))
        ran = stack.run("reconcile/reconcile")
        assert ran.state == "COMPLETED"
        counts = {row["found"]: row["count"] for row in stack.platform.api.artifacts(ran.id)["reconcile"]}
        assert counts == {"landing not merged": 1}
        (model,) = [r for r in stack.platform.api.runs(ran.started or now()) if r.flow == "model"]
        assert stack.ended(model.id).state == "COMPLETED"
    assert stack.platform.api.artifacts(ran.id)["reconcile"][0]["where"] == f"{SOURCE}.airlines"


def test_burst_of_requests_becomes_few_named_runs(stack: Stack) -> None:
    since, bus = now(), EventBus(PROJECT, stack.local.grpc("pubsub"))
    for _ in range(6):
        bus.publish(IngestRequested(source=SOURCE, streams=("flights", "planes"), reason="a burst"))
    wait_until(lambda: runs_of(stack, "ingest", since), "the source is taken in", 120)
    runs = runs_of(stack, "ingest", since)
    assert len(runs) <= 2
    assert {run.state for run in runs} == {"COMPLETED"}
    parameters = stack.http.get(f"/flow_runs/{runs[0].id}").raise_for_status().json()["parameters"]
    assert parameters == {"source": SOURCE, "streams": ["flights", "planes"]}


def test_unknown_source_alert_lists_valid_sources(stack: Stack) -> None:
    since = now()
    publish(stack, names.INGEST_REQUESTED, {"source": "shop"})
    message = stack.wait_for_message("ingest failed: ingest shop", since=since)
    assert "(UnknownStream)" in message
    assert f"no source 'shop' in sources/; there are {SOURCE}" in message


def test_dead_letters_are_redriven_or_alerted(stack: Stack) -> None:
    since, dead = now(), names.dead_letter_topic(names.INGEST_REQUESTED)
    count = {"CloudPubSubDeadLetterSourceDeliveryCount": "10"}
    publish(stack, dead, {"source": "Not A Name"}, **count)
    publish(stack, dead, {"source": SOURCE}, colour="red", **count)
    reconciled = stack.run("reconcile/reconcile")
    counts = {row["found"]: row["count"] for row in stack.platform.api.artifacts(reconciled.id)["reconcile"]}
    assert counts == {"undelivered message": 1, "dead letter": 1}
    message = stack.wait_for_message("ingest-requested: 1 message could not be delivered", since=since)
    assert "1 x message" in message
    assert "#millrace-messages-could-not-be-delivered" in message
    listed = stack.run("dead-letters/dead-letters", action="list", topic=names.INGEST_REQUESTED)
    rows = stack.platform.api.artifacts(listed.id)["dead-letters"]
    assert [row["attempts"] for row in rows] == ["10"]
    wait_until(lambda: runs_of(stack, "ingest", since), "the requested ingest has run", 120)
    dropped = stack.run("dead-letters/dead-letters", action="drop", reason="a test")
    (row,) = stack.platform.api.artifacts(dropped.id)["dead-letters"]
    assert row["done"] == "dropped"


def test_rotated_slack_url_is_used_automatically(stack: Stack) -> None:
    since, name = now(), "slack-webhook-url"
    token = load_credentials(stack.local)["slack-token"]
    with stack.secret_value(name, f"http://localhost:{stack.local.ports['slack']}/services/{token}"):
        announce_version(stack, name)
    digest = stack.run("digest/digest", day=f"{now():%Y-%m-%d}")
    assert digest.state == "COMPLETED"
    message = stack.wait_for_message(":bar_chart: Millrace on", since=since)
    assert "*Merged*" in message
    assert "*Runs*" in message
    assert "merge airport_ops.airlines" in message
    announce_version(stack, name)  # the secret has its old value again, and so should the block


def test_stale_stream_alerts_once_and_recovers(stack: Stack, silent: datetime) -> None:
    resource = {"prefect.resource.id": "millrace.stream.shop.orders"}
    wait_for_silence(stack, silent)
    emit(
        stack,
        names.STREAM_MERGED,
        resource | {"millrace.stale": "yes"},
        source="shop",
        stream="orders",
        rows=3,
        run_id="r",
    )
    stack.wait_for_message("shop.orders: data is fresh again", since=silent)
    assert len([text for text in stack.messages(silent) if "no new data for" in text]) == 1
    assert "deleted: Millrace: no new data of shop.orders" in stack.administer("deploy", "automations").splitlines()
    assert [line for line in stack.administer("deploy", "automations").splitlines() if "unchanged" not in line] == []


def test_alert_texts_are_readable(stack: Stack) -> None:
    messages = httpx.get(f"{stack.local.http('slack')}/messages.json", timeout=30).raise_for_status().json()
    for message in messages:
        sys.stdout.write(f"{message['text']}\n\n")
        assert "{{" not in message["text"]
        assert "${" not in message["text"]
