"""Durations of steps: runs and tasks in, durations by step out; pure."""

from collections.abc import Iterable
from statistics import median

from millrace.status.prefect_runs import PrefectFacts
from millrace.status.types import Step, StepRun

FLOWS = ("ingest", "land", "merge", "model", "reconcile")
SHOWN = 60


def steps(facts: PrefectFacts) -> tuple[Step, ...]:
    """Return the pipeline's flows and their tagged tasks, with the newest `SHOWN` runs of each."""
    flow_of = {run.id: run.flow for run in facts.runs}
    taken: dict[str, list[StepRun]] = {name: [] for name in FLOWS}
    for run in facts.runs:
        if run.flow in taken and run.ended and not run.active:
            taken[run.flow].append(StepRun(at=run.ended, seconds=run.seconds, run_id=run.id, good=not run.bad))
    for task in facts.tasks:
        if (flow := flow_of.get(task.run_id)) in FLOWS:
            step_run = StepRun(at=task.ended, seconds=task.seconds, run_id=task.run_id)
            taken.setdefault(f"{flow} · {task.step}", []).append(step_run)
    ordered = sorted(taken, key=lambda name: (FLOWS.index(name.split(" · ")[0]), name))
    return tuple(_step(name, taken[name]) for name in ordered if taken[name])


def _step(name: str, runs: Iterable[StepRun]) -> Step:
    newest = sorted(runs, key=lambda r: r.at)[-SHOWN:]
    seconds = [r.seconds for r in newest]
    return Step(name=name, runs=tuple(newest), median_s=median(seconds), worst_s=max(seconds))
