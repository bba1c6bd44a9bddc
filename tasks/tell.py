"""Tells of a run's end, as hooks of the flows: once when it begins to fail, once when it is well again."""

from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event

from millrace.domain.alerts import CRASHED, cause, kind, slug, tidy, work
from millrace.domain.names import RUN_FAILED, RUN_RECOVERED
from tasks.model.refuse import REFUSED

ENDED = ["COMPLETED", "FAILED", "CRASHED"]
LIKE = 20


def tell_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Emit `run.failed`, unless the run before failed for the same cause or the failure is told by an alert of its own.

    A crashed run can't speak for itself: Prefect's own event tells of it.
    """
    message = state.message or ""
    now = cause(work(flow_run.name), kind(message))
    with get_client(sync_client=True) as client:
        before = failure_before(client, flow, flow_run)
    if state.name != REFUSED and before != now:
        _emit(RUN_FAILED, flow, flow_run, now, {"kind": kind(message), "message": tidy(message)})


def tell_recovery(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Emit `run.recovered` when the same work failed the last time."""
    with get_client(sync_client=True) as client:
        before = failure_before(client, flow, flow_run)
    if before:
        _emit(RUN_RECOVERED, flow, flow_run, before, {"kind": before.rsplit(": ", 1)[-1]})


def failure_before(client: SyncPrefectClient, flow: Flow[..., Any], flow_run: FlowRun) -> str:
    """Why this run failed before its retry, or else why the last ended run of its name did; '' when it did not."""
    states = [s for s in client.read_flow_run_states(flow_run.id) if s.type.value in ENDED]
    states.sort(key=lambda s: s.timestamp)
    if len(states) > 1:
        return _cause(work(flow_run.name), states[-2])
    same_work = {"name": {"like_": work(flow_run.name)}, "state": {"type": {"any_": ENDED}}}
    ended = client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": [flow.name]}}),
        flow_run_filter=FlowRunFilter.model_validate(same_work | {"id": {"not_any_": [str(flow_run.id)]}}),
        sort=FlowRunSort.END_TIME_DESC,
        limit=LIKE,
    )
    before = next((run for run in ended if work(run.name) == work(flow_run.name)), None)  # not one that is only like it
    return _cause(work(before.name), before.state) if before and before.state else ""


def _cause(name: str, state: State[Any]) -> str:
    if state.is_completed() or state.name == REFUSED:
        return ""
    return cause(name, CRASHED if state.is_crashed() else kind(state.message or ""))


def _emit(event: str, flow: Flow[..., Any], flow_run: FlowRun, why: str, facts: dict[str, Any]) -> None:
    resource = {"prefect.resource.id": f"millrace.run.{slug(work(flow_run.name))}", "millrace.cause": why}
    payload = {"v": 1, "flow": flow.name, "run": flow_run.name, "run_id": str(flow_run.id), "cause": why}
    emit_event(event, resource=resource, payload=payload | facts)
