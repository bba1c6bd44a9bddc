"""Marks runs as crashed that nobody works at any more, and of which Prefect's watchdog never heard.

The watchdog counts from a run's heartbeats. When Prefect's server was away while a run gave them, it heard none.
"""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings
from prefect.states import Crashed

from millrace.domain.findings import Found
from tasks.context import run_id
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)

LATE_S = 10.0  # Prefect keeps an event up to five seconds after it came
MOST = 200
HEARTBEAT = "prefect.flow-run.heartbeat"
TAG = "millrace"  # of every deployment in prefect.yaml
MESSAGE = (
    "No heartbeat while Prefect listened: its process was killed. Nothing is lost: reconcile goes on, or press Retry."
)


@task(
    task_run_name="end dead runs",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def end_dead_runs(dry_run: bool) -> list[Found]:
    """Runs that should run and give no heartbeat, marked as Crashed now unless `dry_run`.

    Waits for as long as a heartbeat may take when there is a run that is suspect, else not at all.
    """
    beat_s = get_current_settings().flows.heartbeat_frequency
    if not beat_s:
        return []
    with get_client(sync_client=True) as client:
        dead = dead_runs(client, beat_s + LATE_S, run_id())
        for run in [] if dry_run else dead:
            client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
            log.warning("run.dead", extra={"event": "run.dead", "fields": {"run": run.name, "run_id": str(run.id)}})
    return [Found(kind="run without a process", where=run.name) for run in dead]


def dead_runs(client: SyncPrefectClient, beat_s: float, own: str) -> list[FlowRun]:
    """Runs at work, other than our own, that were silent for `beat_s`, and stay so for as long while we listen."""
    before = datetime.now(UTC) - timedelta(seconds=beat_s)
    at_work = [run for run in _running(client) if str(run.id) != own and run.start_time and run.start_time < before]
    suspects = {run.id for run in silent(client, at_work, before)}
    if not suspects:
        return []
    since = datetime.now(UTC)
    time.sleep(beat_s)  # Prefect is there, as we talk to it: a living run is heard within that time
    return silent(client, [run for run in _running(client) if run.id in suspects], since)


def silent(client: SyncPrefectClient, runs: Iterable[FlowRun], since: datetime) -> list[FlowRun]:
    """Those runs of which Prefect has no heartbeat since an instant."""
    return [run for run in runs if not _has_beaten(client, run, since)]


def _has_beaten(client: SyncPrefectClient, run: FlowRun, since: datetime) -> bool:
    wanted = {
        "event": {"name": [HEARTBEAT]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        "occurred": {"since": since.isoformat(), "until": (since + timedelta(days=1)).isoformat()},
    }
    answer = client.request("POST", "/events/filter", json={"filter": wanted, "limit": 1})
    return bool(answer.raise_for_status().json()["events"])


def _running(client: SyncPrefectClient) -> list[FlowRun]:
    """Runs of our deployments only: others on the same server may not beat, or seldom."""
    wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}, "tags": {"all_": [TAG]}})
    return client.read_flow_runs(flow_run_filter=wanted, limit=MOST)
