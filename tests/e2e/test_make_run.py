"""`make run` as a person meets it: interrupted, run again, and what it says at its end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.demo.airport_ops.check import compare
from local.demo.airport_ops.replay import day
from local.stack.place import load_place
from tests.e2e.stack import local, processes_of
from tests.support.servers import ROOT, wait_until

LIMIT_S = 400


def run_a_day(state: Path) -> None:
    """Take the next day, to the end of what a person reads, and compare every figure."""
    done = local(state, "run", "--days", "1", "--exit")
    assert done.returncode == 0, done.stdout + done.stderr
    place = load_place(state)
    days = day(place.database)
    assert f"day {days} (" in done.stdout
    assert "figures in 8 marts agree with the original data" in done.stdout
    for link in (place.http("prefect"), place.http("slack"), "_site/quality/index.html", "_site/dbt/index.html"):
        assert link in done.stdout
    assert compare(place.marts, days).differences == ()


@pytest.mark.timeout(LIMIT_S)
def test_a_run_takes_a_day_and_every_figure_is_right(state: Path) -> None:
    run_a_day(state)


@pytest.mark.long
@pytest.mark.timeout(3 * LIMIT_S)
def test_an_interrupted_run_ends_its_processes_and_the_next_one_goes_on(state: Path) -> None:
    command = [sys.executable, "-m", "local", "--state", str(state), "run", "--days", "1", "--exit"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        seen = ""
        for line in run.stdout or ():
            seen += line
            if "merge airport_ops." in line:
                os.kill(run.pid, signal.SIGINT)
                break
        rest, _ = run.communicate(timeout=120)
    assert run.returncode == 130, seen + rest
    assert "`make run` goes on where this stopped" in rest
    wait_until(lambda: processes_of(state) == [], f"nothing of {state} runs any more: {processes_of(state)}", 20)
    run_a_day(state)
