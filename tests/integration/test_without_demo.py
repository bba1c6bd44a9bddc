"""The platform's own tests pass in a checkout without the demo, and one of them goes a whole way on another project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT
from tests.support.without_demo import copy_without_demo

LIMIT_S = 5400
REASON = "the checkout has no demo"
LEAST = {"tests/unit": 1_000, "tests/integration": 1_000}  # what passes, beside what needs a switch or another program

pytestmark = [pytest.mark.long, pytest.mark.demo, pytest.mark.timeout(2 * LIMIT_S)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_without_demo(ROOT, tmp_path_factory.mktemp("without-demo") / "checkout")


def run_tests(copy: Path, *arguments: str, **switches: str) -> str:
    """Run tests of the copy with its own code; return the output of pytest, whose every test passed or was skipped."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "PYTEST_", "PREFECT_"))}
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    done = subprocess.run(
        command, cwd=copy, env=own | switches, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert REASON in done.stdout
    return done.stdout


def passed(output: str) -> int:
    return int(re.findall(r"(\d+) passed", output)[-1])


@pytest.mark.parametrize("folder", LEAST)
def test_tests_pass_without_the_demo(copy: Path, folder: str) -> None:
    assert passed(run_tests(copy, "-n", "2", folder)) > LEAST[folder]


def test_another_project_works_without_the_demo(copy: Path) -> None:
    output = run_tests(copy, "-n", "0", "tests/e2e", "tests/chaos", MILLRACE_SLOW="1")
    assert passed(output) == 1, "the other project's test; all others need the demo"
