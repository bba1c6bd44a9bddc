"""What people are told, and what starts by a message: on the whole stack, through its Slack inbox."""

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
from local.stack.place import PROJECT
from millrace.domain import names
from millrace.domain.events import IngestRequested
from millrace.events.bus import EventBus
from tests.e2e.landing import airline, land, parquet
from tests.e2e.stack import Stack, now
from tests.support.servers import wait_until

pytestmark = pytest.mark.long

SOURCE, STREAM = "airport_ops", {"source": "airport_ops", "stream": "airlines"}
SILENCE_S = 10


def publish(stack: Stack, topic: str, data: object = None, **attributes: str) -> None:
    body = b"" if data is None else json.dumps(data).encode()
    with grpc.insecure_channel(stack.place.grpc("pubsub")) as channel:
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


def tell_of_version(stack: Stack, secret: str) -> None:
    """Tell of a new version as Secret Manager does, and wait until it is in use."""
    since = now()
    publish(stack, names.SECRET_ROTATED, secretId=f"projects/1/secrets/{secret}", eventType="SECRET_VERSION_ADD")
    wait_until(lambda: runs_of(stack, "rotation", since), "the block is refreshed", 60)
    (refreshed,) = runs_of(stack, "rotation", since)
    assert refreshed.state == "COMPLETED"


@contextmanager
def garbage(stack: Stack) -> Iterator[None]:
    """A manifest that is none: every merge of the stream fails."""
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
    there = stack.http.post("/automations/filter", json={}).raise_for_status().json()
    (like,) = [a for a in there if a["name"] == f"Millrace: no new data of {SOURCE}.flights"]
    assert like["trigger"]["within"] == 36 * 3600
    made = yaml.safe_load(
        text.replace("${freshness_s}", str(SILENCE_S))
        .replace("${stream}", "shop.orders")
        .replace("${resource}", "millrace.stream.shop.orders")
        .replace("${freshness}", "10s")
        .replace("${owner}", "the shop")
        .replace("${slack}", like["actions"][0]["block_document_id"])
        .replace("${ui}", "http://ui")
        .replace("${runbook}", "docs/operations.md")
    )
    stack.http.post("/automations/", json=made).raise_for_status()
    since = now()
    begin_silence(stack)
    return since


def begin_silence(stack: Stack) -> None:
    """The last data of the stream."""
    emit(stack, names.STREAM_MERGED, {"prefect.resource.id": "millrace.stream.shop.orders", "millrace.stale": "no"})


def wait_for_silence(stack: Stack, since: datetime) -> None:
    """Wait until people are told; Prefect takes up an automation a moment after it was made, and may miss an event."""

    def told() -> bool:
        return any("shop.orders: no new data for 10s" in text for text in stack.messages(since))

    for _ in range(3):
        with suppress(AssertionError):
            return wait_until(told, "people are told of the silence", 6 * SILENCE_S)
        begin_silence(stack)
    raise AssertionError("nobody was told of the silence")


def test_a_failure_is_told_once_and_its_end_once(stack: Stack, silent: datetime) -> None:
    since = now()
    with stack.by_hand():
        with garbage(stack):
            failed = [stack.run("merge/merge", **STREAM) for _ in range(2)]
        assert [run.state for run in failed] == ["FAILED", "FAILED"]
        assert stack.run("merge/merge", **STREAM).state == "COMPLETED"
        well = stack.wait_for_message("Well again: merge airport_ops.airlines", since=since)
    assert "It had failed the last time (EventRefused), and completed now" in well
    (told,) = [text for text in stack.messages(since) if "failed" in text.splitlines()[0]]
    assert told.startswith(":red_circle: merge failed: merge airport_ops.airlines (EventRefused)")
    assert "is no landing manifest" in told
    assert f"<{stack.place.http('prefect')}/runs/flow-run/{failed[0].id}|Open the run>" in told
    assert "docs/operations.md#millrace-a-flow-run-failed" in told


def test_one_reconcile_brings_what_landed_into_the_marts_without_any_event(stack: Stack) -> None:
    with stack.by_hand():
        land(stack.platform.lake, parquet([airline("ZR", "by reconcile alone")]))
        ran = stack.run("reconcile/reconcile")
        assert ran.state == "COMPLETED"
        found = {row["found"]: row["count"] for row in stack.platform.api.artifacts(ran.id)["reconcile"]}
        assert found == {"landing not merged": 1}
        (model,) = [r for r in stack.platform.api.runs(ran.started or now()) if r.flow == "model"]
        assert stack.ended(model.id).state == "COMPLETED"
    assert stack.platform.api.artifacts(ran.id)["reconcile"][0]["where"] == f"{SOURCE}.airlines"


def test_a_burst_of_requests_is_few_runs_and_each_names_its_streams(stack: Stack) -> None:
    since, bus = now(), EventBus(PROJECT, stack.place.grpc("pubsub"))
    for _ in range(6):
        bus.publish(IngestRequested(source=SOURCE, streams=("flights", "planes"), reason="a burst"))
    wait_until(lambda: runs_of(stack, "ingest", since), "the source is taken in", 120)
    runs = runs_of(stack, "ingest", since)
    assert len(runs) <= 2
    assert {run.state for run in runs} == {"COMPLETED"}
    given = stack.http.get(f"/flow_runs/{runs[0].id}").raise_for_status().json()["parameters"]
    assert given == {"source": SOURCE, "streams": ["flights", "planes"]}


def test_a_request_for_an_unknown_source_is_told_with_those_there_are(stack: Stack) -> None:
    since = now()
    publish(stack, names.INGEST_REQUESTED, {"source": "shop"})
    said = stack.wait_for_message("ingest failed: ingest shop", since=since)
    assert "(UnknownStream)" in said
    assert f"no source 'shop' in sources/; there are {SOURCE}" in said


def test_dead_letters_are_published_again_and_those_that_make_no_sense_are_told(stack: Stack) -> None:
    since, dead = now(), names.dead_letter_topic(names.INGEST_REQUESTED)
    count = {"CloudPubSubDeadLetterSourceDeliveryCount": "10"}
    publish(stack, dead, {"source": "Not A Name"}, **count)
    publish(stack, dead, {"source": SOURCE}, colour="red", **count)
    reconciled = stack.run("reconcile/reconcile")
    found = {row["found"]: row["count"] for row in stack.platform.api.artifacts(reconciled.id)["reconcile"]}
    assert found == {"undelivered message": 1, "dead letter": 1}
    said = stack.wait_for_message("ingest-requested: 1 message could not be delivered", since=since)
    assert "1 x message" in said
    assert "#millrace-messages-could-not-be-delivered" in said
    listed = stack.run("dead-letters/dead-letters", action="list", topic=names.INGEST_REQUESTED)
    rows = stack.platform.api.artifacts(listed.id)["dead-letters"]
    assert [row["attempts"] for row in rows] == ["10"]
    wait_until(lambda: runs_of(stack, "ingest", since), "what was asked for is done", 120)
    dropped = stack.run("dead-letters/dead-letters", action="drop", reason="a test")
    (row,) = stack.platform.api.artifacts(dropped.id)["dead-letters"]
    assert row["done"] == "dropped"


def test_a_rotated_slack_url_is_used_without_anyone_doing_anything(stack: Stack) -> None:
    since, name = now(), "slack-webhook-url"
    token = load_credentials(stack.place)["slack-token"]
    with stack.secret_value(name, f"http://localhost:{stack.place.ports['slack']}/services/{token}"):
        tell_of_version(stack, name)
    digest = stack.run("digest/digest", day=f"{now():%Y-%m-%d}")
    assert digest.state == "COMPLETED"
    said = stack.wait_for_message(":bar_chart: Millrace on", since=since)
    assert "*Merged*" in said
    assert "*Runs*" in said
    assert "merge airport_ops.airlines" in said
    tell_of_version(stack, name)  # the secret is again what it was, and so should the block be


def test_a_stream_without_new_data_is_told_once_and_when_it_comes(stack: Stack, silent: datetime) -> None:
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
    stack.wait_for_message("shop.orders: new data came", since=silent)
    assert len([text for text in stack.messages(silent) if "no new data for" in text]) == 1
    assert "deleted: Millrace: no new data of shop.orders" in stack.administer("automations", "apply").splitlines()
    assert [line for line in stack.administer("automations", "apply").splitlines() if "unchanged" not in line] == []


def test_the_texts_can_be_read(stack: Stack) -> None:
    messages = httpx.get(f"{stack.place.http('slack')}/messages.json", timeout=30).raise_for_status().json()
    for message in messages:
        sys.stdout.write(f"{message['text']}\n\n")
        assert "{{" not in message["text"]
        assert "${" not in message["text"]
