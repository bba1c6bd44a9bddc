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
from tests.e2e.stack import local, processes_of
from tests.support.servers import ROOT, wait_until

LIMIT_S = 400


def run_a_day(state: Path) -> None:
    """Run the next day with all its output, and compare every figure."""
    completed = local(state, "run", "--days", "1", "--exit")
    assert completed.returncode == 0, completed.stdout + completed.stderr
    stack = load_stack(state)
    days = day(stack.database)
    assert f"day {days} (" in completed.stdout
    assert "figures in 8 marts agree with the original data" in completed.stdout
    for link in (stack.http("prefect"), stack.http("slack"), "_site/quality/index.html", "_site/dbt/index.html"):
        assert link in completed.stdout
    assert compare(stack.marts, days).differences == ()


@pytest.mark.timeout(LIMIT_S)
def test_run_loads_a_day_and_all_figures_match(state: Path) -> None:
    run_a_day(state)


@pytest.mark.long
@pytest.mark.timeout(3 * LIMIT_S)
def test_interrupted_run_stops_and_next_continues(state: Path) -> None:
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
    run_a_day(state)
