"""Runs a scenario: each peer in turn, several times, each time in a process and on a copy of its own."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from bench.measure import Measured, measure
from bench.merge.check import Table, require_equal, require_rows
from bench.merge.job import Job, Workspace
from bench.merge.peers import ROOT, TITLES, Runner
from bench.merge.process import MARK
from bench.merge.results import Run
from bench.merge.scenarios import Scenario
from bench.merge.targets import PeerFailed, make_workspace
from bench.merge.workload import Batch

SAMPLE_S = 0.2
WARM_ROWS, WARM_TARGET = 80, 100


def run_scenario(cache: Path, scenario: Scenario, runners: Mapping[str, Runner], repeat: int) -> dict[str, list[Run]]:
    """Runs of each peer; after each run its table is compared with that of the first peer.

    Raises:
        PeerFailed: with the end of what its process said.
        TablesDiffer: two peers did not end in the same table, or in one of other keys.
    """
    runs: dict[str, list[Run]] = {name: [] for name in runners}
    folder = cache / "run"
    for number in range(1, repeat + 1):
        shutil.rmtree(folder, ignore_errors=True)
        first: tuple[Runner, Table] | None = None
        for runner in runners.values():
            run, table = run_once(cache, scenario, runner, folder / runner.name)
            if first is None:
                first = runner, table
                require_rows(TITLES[runner.name], table, scenario.batch.rows_after)
            else:
                require_equal(TITLES[runner.name], table, TITLES[first[0].name], first[1])
                shutil.rmtree(folder / runner.name)
            runs[runner.name].append(run)
            print(f"{scenario.name} {number}/{repeat} {TITLES[runner.name]}: {describe(run)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return runs


def describe(run: Run) -> str:
    """One run as a line."""
    whole = f"whole process {run.process_cpu_s:.1f} / {run.process_wall_s:.1f} s"
    return f"{run.cpu_s:.2f} CPU s, {run.wall_s:.2f} s, {whole}, {run.peak_bytes / 1e6:,.0f} MB"


def run_once(cache: Path, scenario: Scenario, runner: Runner, folder: Path) -> tuple[Run, Table]:
    """One merge, and the table that it left."""
    warm = Batch(WARM_ROWS, WARM_TARGET, 2, scenario.batch.format)
    warm_up = make_workspace(cache, runner, warm, scenario.key, folder / "warm-up")
    workspace = make_workspace(cache, runner, scenario.batch, scenario.key, folder / "measured")
    job = Job(runner.module, workspace, warm_up).write(folder / "job.json")
    measured = measure([runner.python, "-m", "bench.merge.process", str(job)], ROOT, SAMPLE_S)
    return read_run(runner, measured), _table(runner, workspace)


def read_run(runner: Runner, measured: Measured) -> Run:
    """Combine the figures that the process printed with those measured from outside. Raises PeerFailed."""
    marked = [line.removeprefix(MARK) for line in measured.output.splitlines() if line.startswith(MARK)]
    if measured.code or not marked:
        raise PeerFailed(f"{TITLES[runner.name]} ended with {measured.code}:\n{measured.output[-4000:]}")
    inside = json.loads(marked[-1])
    peak = max(measured.peak_bytes, inside["peak_bytes"])
    return Run(inside["cpu_s"], inside["wall_s"], measured.cpu_s, measured.wall_s, peak)


def _table(runner: Runner, workspace: Workspace) -> Table:
    return Table(Path(workspace.database), runner.relation)
