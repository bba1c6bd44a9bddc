"""Asks Prefect what living runs are at, so that reconcile counts only what no run does."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun

from millrace.domain.findings import UnderWay
from millrace.settings import load_settings
from tasks.context import open_lake
from tasks.retries import DELAYS_S, is_transient
from tasks.started_syncs import recall_sync

PAGE = 200
SOON = timedelta(minutes=10)


@task(
    task_run_name="look at living runs",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def find_under_way() -> UnderWay:
    """What runs that are at work, or are due within 10 minutes, will do."""
    lake = open_lake()
    with get_client(sync_client=True) as client:
        by = datetime.now(UTC) + SOON
        syncs = [recall_sync(lake, str(run.id)) for run in living(client, "ingest", by)]
        return UnderWay(
            streams=frozenset(_stream(run) for run in living(client, "merge", by)),
            sources=frozenset(str(run.parameters.get("source", "")) for run in living(client, "land", by)),
            jobs=frozenset((sync.source, sync.job_id) for sync in syncs if sync),
            model=any(True for _ in living(client, "model", by)),
        )


def living(client: SyncPrefectClient, flow: str, by: datetime) -> Iterator[FlowRun]:
    """Runs of a flow that run, begin, or are due at `by`.

    One that has been about to begin for longer than `reconcile.pending_s` is none: its worker died with it.
    """
    begun = datetime.now(UTC) - timedelta(seconds=load_settings().reconcile.pending_s)
    at_work: dict[str, Any] = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    due = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": by.isoformat()}}
    of = FlowFilter.model_validate({"name": {"any_": [flow]}})
    for wanted in (at_work, due):
        found = FlowRunFilter.model_validate(wanted)
        offset = 0
        while page := client.read_flow_runs(flow_filter=of, flow_run_filter=found, limit=PAGE, offset=offset):
            yield from (run for run in page if not _is_stuck(run, begun))
            offset += len(page)


def _is_stuck(run: FlowRun, begun: datetime) -> bool:
    return run.state is not None and run.state.is_pending() and run.state.timestamp < begun


def _stream(run: FlowRun) -> str:
    return f"{run.parameters.get('source')}.{run.parameters.get('stream')}"
