"""Hooks at a run's end: one event when a piece of work begins to fail, and one when it succeeds again."""

from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort

from millrace.command_line import command_line
from millrace.domain.alerts import CRASHED, REJECTED, cause, kind, slug, tidy, work
from millrace.domain.names import RUN_FAILED, RUN_RECOVERED
from millrace.domain.remedies import rooted
from tasks.emit import emit
from tasks.model.refuse import REFUSED

ENDED = ["COMPLETED", "FAILED", "CRASHED"]
LIKE = 20


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Emit `run.failed`, unless the previous run failed for the same cause, or the failure has its own alert or none.

    The process of a crashed run is gone: an automation reacts to Prefect's own event instead.
    """
    if state.name == REJECTED:  # whoever started it reads the reason
        return
    message = state.message or ""
    current = cause(work(flow_run.name), kind(message))
    with get_client(sync_client=True) as client:
        previous = previous_failure(client, flow, flow_run)
    if state.name != REFUSED and previous != current:
        _emit(
            RUN_FAILED,
            flow,
            flow_run,
            current,
            {"kind": kind(message), "message": rooted(tidy(message), command_line())},
        )


def notify_recovery(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Emit `run.recovered` when the previous run of the same work failed."""
    with get_client(sync_client=True) as client:
        previous = previous_failure(client, flow, flow_run)
    if previous:
        _emit(RUN_RECOVERED, flow, flow_run, previous, {"kind": previous.rsplit(": ", 1)[-1]})


def previous_failure(client: SyncPrefectClient, flow: Flow[..., Any], flow_run: FlowRun) -> str:
    """Return the cause of this run's failure before its retry, else of the last ended run's of its name; '' if none."""
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
    same = (run for run in ended if work(run.name) == work(flow_run.name))  # `like_` matches more names
    previous = next((run for run in same if run.state and run.state.name != REJECTED), None)
    return _cause(work(previous.name), previous.state) if previous and previous.state else ""


def _cause(name: str, state: State[Any]) -> str:
    if state.is_completed() or state.name == REFUSED:
        return ""
    return cause(name, CRASHED if state.is_crashed() else kind(state.message or ""))


def _emit(event: str, flow: Flow[..., Any], flow_run: FlowRun, cause: str, details: dict[str, Any]) -> None:
    payload = {"flow": flow.name, "run": flow_run.name, "run_id": str(flow_run.id), "cause": cause}
    payload |= {name: value for name in ("source", "stream") if (value := flow_run.parameters.get(name))}
    emit(event, f"millrace.run.{slug(work(flow_run.name))}", payload | details, cause=cause)
