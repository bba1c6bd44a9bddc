"""Stored events without a run, in Prefect's database: reconcile's task starts a run for each, once."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter
from prefect.settings import PREFECT_API_URL

from millrace.domain.findings import Gap
from tasks.reconcile.start_requested import PAGE, start_requested
from tests.support.harness import harness
from tests.support.servers import wait_until

pytestmark = pytest.mark.slow

SOURCE, AT_ONCE = "shop", timedelta(0)


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    """Return a client of a server with the deployment `ingest`, whose runs nothing executes."""
    with harness(), get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("ingest")
        client.create_deployment(flow_id=flow_id, name="ingest", entrypoint="flows/ingest.py:ingest")
        yield client


def runs(client: SyncPrefectClient) -> list[Any]:
    return client.read_flow_runs(flow_filter=FlowFilter.model_validate({"name": {"any_": ["ingest"]}}))


def request(source: str, *streams: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "event": "source.requested",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": f"millrace.source.{source}"},
        "payload": {"v": 1, "source": source, "streams": list(streams) or None, "reason": "a test"},
    }


def store(*events: dict[str, Any]) -> str:
    """Send Prefect events, and return the id of the last one once it is stored."""
    event_id, url = str(events[-1]["id"]), PREFECT_API_URL.value()
    httpx.post(f"{url}/events", json=events, timeout=30).raise_for_status()
    query = {"filter": {"id": {"id": [event_id]}}}
    wait_until(
        lambda: httpx.post(f"{url}/events/filter", json=query, timeout=30).json()["events"], "the event is stored"
    )
    return event_id


def test_stored_request_without_a_run_gets_one(client: SyncPrefectClient) -> None:
    before = len(runs(client))
    event_id = store(request(SOURCE, "flights"))
    missing = [Gap(kind="undelivered message", where=f"source.requested {SOURCE}", detail=f"event {event_id}")]
    assert start_requested.fn(dry_run=False) == []  # its trigger may still start it
    assert start_requested.fn(dry_run=True, settled=AT_ONCE) == missing
    assert len(runs(client)) == before
    assert start_requested.fn(dry_run=False, settled=AT_ONCE) == missing
    assert start_requested.fn(dry_run=False, settled=AT_ONCE) == []
    (started,) = [run for run in runs(client) if run.idempotency_key == f"event-{event_id}"]
    assert started.parameters == {"source": SOURCE, "streams": ["flights"]}


def test_one_run_serves_all_requests_before_it(client: SyncPrefectClient) -> None:
    before = len(runs(client))
    store(request(SOURCE, "flights"))
    store(request(SOURCE))
    assert len(start_requested.fn(dry_run=False, settled=AT_ONCE)) == 1
    assert len(runs(client)) == before + 1


def test_requests_of_all_pages_are_found(client: SyncPrefectClient) -> None:
    assert start_requested.fn(dry_run=False, settled=AT_ONCE) == []
    store(*(request(f"source_{number}") for number in range(PAGE + 10)))
    gaps = start_requested.fn(dry_run=True, settled=AT_ONCE)
    assert {gap.where for gap in gaps} == {f"source.requested source_{number}" for number in range(PAGE + 10)}
