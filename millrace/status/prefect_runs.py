"""Reads runs from Prefect with its client: flow runs, durations of tasks, and the findings of the newest reconcile."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.events.filters import EventFilter

from millrace.domain import names
from millrace.domain.alerts import REJECTED, work

NEWEST, NEWEST_BAD, NEWEST_TASKS, FLOWS = 200, 50, 200, 200
BAD = ("FAILED", "CRASHED")
ACTIVE = ("PENDING", "RUNNING", "CANCELLING")
A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Run:
    """A flow run in Prefect."""

    id: str
    flow: str
    name: str
    state: str
    message: str
    started: datetime | None
    ended: datetime | None
    seconds: float
    parameters: dict[str, Any] = field(default_factory=dict, hash=False)
    by_event: bool = False
    rejected: bool = False

    @property
    def stream(self) -> str:
        """Return `<source>.<stream>` of a run with these parameters, else ''."""
        source, stream = self.parameters.get("source"), self.parameters.get("stream")
        return f"{source}.{stream}" if source and stream else ""

    @property
    def bad(self) -> bool:
        """Return True when the run failed or crashed; one with a mistyped parameter did neither."""
        return self.state in BAD and not self.rejected

    @property
    def active(self) -> bool:
        """Return True when the run has not ended."""
        return self.state in ACTIVE


@dataclass(frozen=True)
class TaskDuration:
    """The duration of a task of a run; `step` is the task's name."""

    run_id: str
    step: str
    ended: datetime
    seconds: float


@dataclass(frozen=True)
class PrefectFacts:
    """Runs, newest first, ended tasks with the tag `step`, and the findings of the newest reconcile run."""

    runs: tuple[Run, ...] = ()
    tasks: tuple[TaskDuration, ...] = ()
    recovered_by_reconcile: int = 0
    dead_letters: int = 0

    def of(self, flow: str) -> list[Run]:
        """Return the runs of a flow, newest first."""
        return [run for run in self.runs if run.flow == flow]


def read_prefect(client: SyncPrefectClient, since: datetime, now: datetime) -> PrefectFacts:
    """Return the newest runs since `since`, and the newest failed ones, which may be older than those."""
    flows = {flow.id: flow.name for flow in client.read_flows(limit=FLOWS)}
    window = {"after_": since.isoformat()}
    newest = _read(client, {"start_time": window}, FlowRunSort.START_TIME_DESC, NEWEST)
    failed = {"expected_start_time": window, "state": {"type": {"any_": list(BAD)}}}  # some failed before their start
    bad = _read(client, failed, FlowRunSort.EXPECTED_START_TIME_DESC, NEWEST_BAD)
    if len(newest) == NEWEST:
        newest += _later_successes(client, bad, newest[-1].start_time or now)
    by_id = {run.id: _run(run, flows) for run in (*newest, *bad)}
    runs = sorted(by_id.values(), key=lambda r: r.started or since, reverse=True)
    reconciled = next((r.started for r in runs if r.flow == "reconcile" and r.started and not r.active), now - A_DAY)
    lost = _payloads(client, names.RECONCILE_FOUND, max(reconciled, now - A_DAY), now)
    dead = _payloads(client, names.DEAD_LETTERS_FOUND, max(reconciled, now - A_DAY), now)
    return PrefectFacts(
        runs=tuple(runs),
        tasks=tuple(_tasks(client, since)),
        recovered_by_reconcile=sum(int(payload.get("lost") or 0) for payload in lost),
        dead_letters=sum({str(p.get("topic")): int(p.get("count") or 0) for p in dead}.values()),
    )


def _read(client: SyncPrefectClient, criteria: dict[str, Any], sort: FlowRunSort, limit: int) -> list[FlowRun]:
    return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(criteria), sort=sort, limit=limit)


def _later_successes(client: SyncPrefectClient, bad: list[FlowRun], oldest: datetime) -> list[FlowRun]:
    """Return a later successful run of each work that failed before `oldest`, the start of the oldest run read."""
    newest = {work(run.name): run for run in reversed(bad)}
    successes = []
    for name, run in newest.items():
        failed_at = run.start_time or run.expected_start_time
        if failed_at and failed_at < oldest:
            criteria = {
                "name": {"like_": name},
                "state": {"type": {"any_": ["COMPLETED"]}},
                "start_time": {"after_": failed_at.isoformat()},
            }
            similar = _read(client, criteria, FlowRunSort.START_TIME_DESC, NEWEST_BAD)
            successes += [run for run in similar if work(run.name) == name][:1]
    return successes


def _run(run: FlowRun, flows: dict[UUID, str]) -> Run:
    return Run(
        id=str(run.id),
        flow=flows.get(run.flow_id, ""),
        name=run.name,
        state=run.state_type.value if run.state_type else "",
        message=(run.state.message or "") if run.state else "",
        started=run.start_time or run.expected_start_time,
        ended=run.end_time,
        seconds=run.total_run_time.total_seconds(),
        parameters=dict(run.parameters or {}),
        by_event=bool(run.created_by and run.created_by.type == "AUTOMATION"),
        rejected=run.state_name == REJECTED,
    )


def _tasks(client: SyncPrefectClient, since: datetime) -> Iterable[TaskDuration]:
    criteria = {
        "tags": {"all_": [names.STEP_TAG]},
        "state": {"type": {"any_": ["COMPLETED"]}},
        "start_time": {"after_": since.isoformat()},
    }
    tasks = client.read_task_runs(
        task_run_filter=TaskRunFilter.model_validate(criteria), sort=TaskRunSort.END_TIME_DESC, limit=NEWEST_TASKS
    )
    for task in tasks:
        if task.end_time and task.flow_run_id:
            step = task.task_key.rsplit(".", 1)[-1].split("-")[0].replace("_", " ")
            yield TaskDuration(str(task.flow_run_id), step, task.end_time, task.total_run_time.total_seconds())


def _payloads(client: SyncPrefectClient, name: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Return the payloads of the newest 50 events of a name, which are one page, oldest first."""
    occurred = {"since": since.isoformat(), "until": until.isoformat()}
    page = client.read_events(EventFilter.model_validate({"event": {"name": [name]}, "occurred": occurred}), 50)
    return [dict(event.payload) for event in reversed(page.events)]
