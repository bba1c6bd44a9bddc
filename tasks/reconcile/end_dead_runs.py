"""Marks runs as crashed whose process is gone, where Prefect's own automation does not.

That automation counts from a run's last heartbeat. It never starts for a run whose heartbeats were sent while Prefect's
server was down.
"""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings
from prefect.states import Crashed

from millrace.domain.findings import Gap
from millrace.observability.events import log_event
from tasks.context import run_id
from tasks.retries import uncached_task

log = logging.getLogger(__name__)

LATE_S = 10.0  # Prefect stores an event up to five seconds after it arrives
LIMIT = 200
HEARTBEAT = "prefect.flow-run.heartbeat"
TAG = "millrace"  # of every deployment in prefect.yaml
MESSAGE = (
    "No heartbeat while Prefect was up: its process was killed. Nothing is lost: reconcile continues, or press Retry."
)


@uncached_task(task_run_name="end dead runs", retries=2)
def end_dead_runs(dry_run: bool) -> list[Gap]:
    """Mark running runs without a heartbeat as Crashed, unless `dry_run`, and return them.

    Waits for one interval of heartbeats when there is a suspected run, else not at all.
    """
    beat_s = get_current_settings().flows.heartbeat_frequency
    if not beat_s:
        return []
    with get_client(sync_client=True) as client:
        dead = dead_runs(client, beat_s + LATE_S, run_id())
        for run in [] if dry_run else dead:
            client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
            log_event(log, logging.WARNING, "run.dead", run=run.name, run_id=str(run.id))
    return [Gap(kind="run without a process", where=run.name) for run in dead]


def dead_runs(client: SyncPrefectClient, beat_s: float, own: str) -> list[FlowRun]:
    """Return the running runs, except `own`, without a heartbeat in the last `beat_s` seconds and in the next ones."""
    before = datetime.now(UTC) - timedelta(seconds=beat_s)
    running = [run for run in _running(client) if str(run.id) != own and run.start_time and run.start_time < before]
    suspects = {run.id for run in silent(client, running, before)}
    if not suspects:
        return []
    since = datetime.now(UTC)
    time.sleep(beat_s)  # Prefect is up, as it just answered: a live run sends a heartbeat within that time
    return silent(client, [run for run in _running(client) if run.id in suspects], since)


def silent(client: SyncPrefectClient, runs: Iterable[FlowRun], since: datetime) -> list[FlowRun]:
    """Return the runs without a heartbeat in Prefect since an instant."""
    return [run for run in runs if not _has_heartbeat(client, run, since)]


def _has_heartbeat(client: SyncPrefectClient, run: FlowRun, since: datetime) -> bool:
    event_filter = {
        "event": {"name": [HEARTBEAT]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        "occurred": {"since": since.isoformat(), "until": (since + timedelta(days=1)).isoformat()},
    }
    response = client.request("POST", "/events/filter", json={"filter": event_filter, "limit": 1})
    return bool(response.raise_for_status().json()["events"])


def _running(client: SyncPrefectClient) -> list[FlowRun]:
    """Return running runs of our deployments only: others on the same server may send no heartbeats."""
    run_filter = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}, "tags": {"all_": [TAG]}})
    return client.read_flow_runs(flow_run_filter=run_filter, limit=LIMIT)
