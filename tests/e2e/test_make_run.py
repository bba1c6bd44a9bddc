"""`make run` as a person uses it: interrupted, run again, and its output at the end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.demo.airport_ops.check import compare
from local.demo.airport_ops.replay import day
from local.stack.local_stack import load_stack
from tests.e2e.stack import local, new_state, processes_of
from tests.support.servers import ROOT, wait_until

pytestmark = pytest.mark.demo

LIMIT_S = 400


def check_day(state: Path, completed: "subprocess.CompletedProcess[str]") -> None:
    """Check what a run of the next day printed, and compare every figure."""
    assert completed.returncode == 0, completed.stdout + completed.stderr
    stack = load_stack(state)
    days = day(stack.database)
    assert f"day {days} (" in completed.stdout
    assert "figures in 8 marts agree with the original data" in completed.stdout
    for link in (stack.http("prefect"), stack.http("slack"), "_site/quality/index.html", "_site/dbt/index.html"):
        assert link in completed.stdout
    assert compare(stack.marts, days).differences == ()


@pytest.mark.timeout(LIMIT_S)
def test_run_loads_a_day_and_all_figures_match(state: Path, first_day: "subprocess.CompletedProcess[str]") -> None:
    check_day(state, first_day)


@pytest.mark.long
@pytest.mark.timeout(3 * LIMIT_S)
def test_interrupted_run_stops_and_next_continues(tmp_path: Path) -> None:
    state = new_state(tmp_path / "state")
    command = [sys.executable, "-m", "local", "--state", str(state), "run", "--days", "1", "--exit"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        output = ""
        for line in run.stdout or ():
            output += line
            if "merge airport_ops." in line:
                os.kill(run.pid, signal.SIGINT)
                break
        rest, _ = run.communicate(timeout=120)
    assert run.returncode == 130, output + rest
    assert "`make run` continues from here" in rest
    wait_until(lambda: processes_of(state) == [], f"nothing of {state} runs any more: {processes_of(state)}", 20)
    completed = local(state, "run", "--days", "1", "--exit")
    check_day(state, completed)
    assert processes_of(state) == []
