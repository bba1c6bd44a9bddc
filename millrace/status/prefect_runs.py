"""What Prefect knows of runs: flows, their tasks, and what its newest reconcile run told; through its own client."""

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
from millrace.domain.alerts import work

NEWEST, NEWEST_BAD, NEWEST_TASKS, FLOWS = 200, 50, 200, 200
BAD = ("FAILED", "CRASHED")
LIVING = ("PENDING", "RUNNING", "CANCELLING")
A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Run:
    """A flow run as Prefect tells it."""

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

    @property
    def stream(self) -> str:
        """`<source>.<stream>` of a run that is about one, else ''."""
        source, stream = self.parameters.get("source"), self.parameters.get("stream")
        return f"{source}.{stream}" if source and stream else ""

    @property
    def bad(self) -> bool:
        """Whether it ended without doing what it should."""
        return self.state in BAD

    @property
    def living(self) -> bool:
        """Whether it is at work."""
        return self.state in LIVING


@dataclass(frozen=True)
class TaskTook:
    """How long a task of a run took; `step` is the task's own name."""

    run_id: str
    step: str
    ended: datetime
    seconds: float


@dataclass(frozen=True)
class PrefectFacts:
    """Newest runs first, ended tasks that bear the tag `step`, and what the newest reconcile run found."""

    runs: tuple[Run, ...] = ()
    tasks: tuple[TaskTook, ...] = ()
    made_up_for: int = 0
    dead_letters: int = 0

    def of(self, flow: str) -> list[Run]:
        """Runs of a flow, newest first."""
        return [run for run in self.runs if run.flow == flow]


def ask_prefect(client: SyncPrefectClient, since: datetime, now: datetime) -> PrefectFacts:
    """The newest runs from `since` on, and all that failed of late even if they are older than those."""
    flows = {flow.id: flow.name for flow in client.read_flows(limit=FLOWS)}
    window = {"after_": since.isoformat()}
    found = _read(client, {"start_time": window}, FlowRunSort.START_TIME_DESC, NEWEST)
    failed = {"expected_start_time": window, "state": {"type": {"any_": list(BAD)}}}  # some never began
    bad = _read(client, failed, FlowRunSort.EXPECTED_START_TIME_DESC, NEWEST_BAD)
    if len(found) == NEWEST:
        found += _later_successes(client, bad, found[-1].start_time or now)
    known = {run.id: _run(run, flows) for run in (*found, *bad)}
    runs = sorted(known.values(), key=lambda r: r.started or since, reverse=True)
    looked = next((r.started for r in runs if r.flow == "reconcile" and r.started and not r.living), now - A_DAY)
    lost = _payloads(client, names.RECONCILE_FOUND, max(looked, now - A_DAY), now)
    dead = _payloads(client, names.DEAD_LETTERS_FOUND, max(looked, now - A_DAY), now)
    return PrefectFacts(
        runs=tuple(runs),
        tasks=tuple(_tasks(client, since)),
        made_up_for=sum(int(payload.get("lost") or 0) for payload in lost),
        dead_letters=sum({str(p.get("topic")): int(p.get("count") or 0) for p in dead}.values()),
    )


def _read(client: SyncPrefectClient, wanted: dict[str, Any], sort: FlowRunSort, limit: int) -> list[FlowRun]:
    return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted), sort=sort, limit=limit)


def _later_successes(client: SyncPrefectClient, bad: list[FlowRun], oldest: datetime) -> list[FlowRun]:
    """For work that failed last before `oldest`, from where on all runs are known: a run of it that went well since."""
    newest = {work(run.name): run for run in reversed(bad)}
    found = []
    for name, run in newest.items():
        failed_at = run.start_time or run.expected_start_time
        if failed_at and failed_at < oldest:
            wanted = {
                "name": {"like_": name},
                "state": {"type": {"any_": ["COMPLETED"]}},
                "start_time": {"after_": failed_at.isoformat()},
            }
            like = _read(client, wanted, FlowRunSort.START_TIME_DESC, NEWEST_BAD)
            found += [other for other in like if work(other.name) == name][:1]
    return found


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
    )


def _tasks(client: SyncPrefectClient, since: datetime) -> Iterable[TaskTook]:
    wanted = {
        "tags": {"all_": [names.STEP_TAG]},
        "state": {"type": {"any_": ["COMPLETED"]}},
        "start_time": {"after_": since.isoformat()},
    }
    found = client.read_task_runs(
        task_run_filter=TaskRunFilter.model_validate(wanted), sort=TaskRunSort.END_TIME_DESC, limit=NEWEST_TASKS
    )
    for task in found:
        if task.end_time and task.flow_run_id:
            step = task.task_key.rsplit(".", 1)[-1].split("-")[0].replace("_", " ")
            yield TaskTook(str(task.flow_run_id), step, task.end_time, task.total_run_time.total_seconds())


def _payloads(client: SyncPrefectClient, name: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """What events of a name said, oldest first; the newest 50, which is a page."""
    occurred = {"since": since.isoformat(), "until": until.isoformat()}
    page = client.read_events(EventFilter.model_validate({"event": {"name": [name]}, "occurred": occurred}), 50)
    return [dict(event.payload) for event in reversed(page.events)]
