"""Finds the work of active runs in Prefect, so that reconcile counts only work without a run."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun

from millrace.domain.findings import ActiveWork
from millrace.settings import load_settings
from tasks.context import open_lake
from tasks.retries import uncached_task
from tasks.started_syncs import recall_sync

PAGE = 200
SOON = timedelta(minutes=10)


@uncached_task(task_run_name="look for active runs", retries=2)
def find_under_way() -> ActiveWork:
    """Return the work of runs that are active, or due within 10 minutes."""
    lake = open_lake()
    with get_client(sync_client=True) as client:
        by = datetime.now(UTC) + SOON
        syncs = [recall_sync(lake, str(run.id)) for run in active_runs(client, "ingest", by)]
        return ActiveWork(
            streams=frozenset(_stream(run) for run in active_runs(client, "merge", by)),
            sources=frozenset(str(run.parameters.get("source", "")) for run in active_runs(client, "land", by)),
            jobs=frozenset((sync.source, sync.job_id) for sync in syncs if sync),
            model=any(True for _ in active_runs(client, "model", by)),
            show=any(True for _ in active_runs(client, "show", by)),
        )


def active_runs(client: SyncPrefectClient, flow: str, by: datetime) -> Iterator[FlowRun]:
    """Yield the runs of a flow that are pending, running, or scheduled until `by`.

    A run that has been pending for longer than `reconcile.pending_s` is left out: its worker has died.
    """
    oldest = datetime.now(UTC) - timedelta(seconds=load_settings().reconcile.pending_s)
    started: dict[str, Any] = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    due = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": by.isoformat()}}
    flow_filter = FlowFilter.model_validate({"name": {"any_": [flow]}})
    for criteria in (started, due):
        run_filter = FlowRunFilter.model_validate(criteria)
        offset = 0
        while page := client.read_flow_runs(
            flow_filter=flow_filter, flow_run_filter=run_filter, limit=PAGE, offset=offset
        ):
            yield from (run for run in page if not _is_stuck(run, oldest))
            offset += len(page)


def _is_stuck(run: FlowRun, oldest: datetime) -> bool:
    return run.state is not None and run.state.is_pending() and run.state.timestamp < oldest


def _stream(run: FlowRun) -> str:
    return f"{run.parameters.get('source')}.{run.parameters.get('stream')}"
