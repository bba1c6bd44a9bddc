"""Starts the runs of stored events that got none: requests for a sync and rotated secrets, which are nowhere else.

Prefect evaluates triggers in memory. While its database is away, or when its process ends, an event may be stored
without the run that its trigger would have started.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from millrace.domain import names
from millrace.domain.errors import SettingsError
from millrace.domain.findings import Gap
from tasks.retries import uncached_task

FLOWS = {
    names.EVENT_OF_TOPIC[names.INGEST_REQUESTED]: "ingest",
    names.EVENT_OF_TOPIC[names.SECRET_ROTATED]: "rotation",
}
LOOK_BACK = timedelta(days=1)
SETTLED = timedelta(minutes=2)  # a younger event may still get its run from its trigger
WINDOW = timedelta(seconds=10)  # of the triggers in prefect.yaml: the events in it get the run of the first
SOON = timedelta(minutes=10)
PAGE = 50

Json = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run that exists: its flow, its parameters and its time."""

    flow: str
    parameters: Json
    at: datetime


@uncached_task(task_run_name="start requested runs", retries=2)
def start_requested(dry_run: bool, settled: timedelta = SETTLED) -> list[Gap]:
    """Return the stored events of the last day without a run, after starting one for each, each once.

    One run serves all events before it that ask for the same. With `dry_run` nothing is started.

    Raises:
        SettingsError: a flow is not deployed.
    """
    now = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        events = sorted(_stored(client, now), key=_occurred, reverse=True)
        runs = [run for flow in FLOWS.values() for run in _runs(client, flow, now)]
    missing = []
    for event in events:
        if datetime.fromisoformat(event["received"]) > now - settled or any(serves(run, event) for run in runs):
            continue
        missing.append(event)
        runs.append(Run(FLOWS[event["event"]], parameters(event), now))
        if not dry_run:
            _start(event)
    return [Gap(kind="undelivered message", where=_where(event), detail=f"event {event['id']}") for event in missing]


def serves(run: Run, event: Json) -> bool:
    """Return True when a run does what an event asks for, and began after it or in the window before it."""
    request = parameters(event)
    streams, taken = request.get("streams"), run.parameters.get("streams")
    return (
        run.flow == FLOWS[event["event"]]
        and run.at >= _occurred(event) - WINDOW
        and run.parameters.get("source") == request.get("source")
        and (not taken or bool(streams and set(streams) <= set(taken)))
    )


def parameters(event: Json) -> Json:
    """Return the parameters that an event's trigger in prefect.yaml gives its run."""
    if FLOWS[event["event"]] == "rotation":
        return {}
    return {"source": event["payload"].get("source"), "streams": event["payload"].get("streams")}


def _stored(client: SyncPrefectClient, now: datetime) -> Iterator[Json]:
    occurred = {"since": (now - LOOK_BACK).isoformat(), "until": now.isoformat()}
    query = {"filter": {"event": {"name": list(FLOWS)}, "occurred": occurred}, "limit": PAGE}
    page = client.request("POST", "/events/filter", json=query).raise_for_status().json()
    yield from page["events"]
    while page["next_page"]:
        token = dict(parse_qsl(urlsplit(page["next_page"]).query))
        page = client.request("GET", "/events/filter/next", params=token).raise_for_status().json()
        yield from page["events"]


def _runs(client: SyncPrefectClient, flow: str, now: datetime) -> Iterable[Run]:
    times = {"after_": (now - LOOK_BACK - WINDOW).isoformat(), "before_": (now + SOON).isoformat()}
    run_filter = FlowRunFilter.model_validate({"expected_start_time": times})
    flow_filter = FlowFilter.model_validate({"name": {"any_": [flow]}})
    offset = 0
    while page := client.read_flow_runs(flow_filter=flow_filter, flow_run_filter=run_filter, limit=200, offset=offset):
        yield from (Run(flow, run.parameters, run.expected_start_time) for run in page if run.expected_start_time)
        offset += len(page)


def _start(event: Json) -> None:
    deployment = f"{FLOWS[event['event']]}/{FLOWS[event['event']]}"
    key = f"event-{event['id']}"
    try:
        run_deployment(deployment, parameters=parameters(event), timeout=0, idempotency_key=key, as_subflow=False)
    except ObjectNotFound:
        raise SettingsError(f"deployment {deployment} does not exist; run `millrace deploy deployments`") from None


def _occurred(event: Json) -> datetime:
    return datetime.fromisoformat(event["occurred"])


def _where(event: Json) -> str:
    return f"{event['event']} {event['resource']['prefect.resource.id'].rsplit('.', 1)[-1]}"
