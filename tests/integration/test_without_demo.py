"""The platform's own tests pass in a checkout without the demo."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT
from tests.support.without_demo import copy_without_demo


@pytest.mark.long
@pytest.mark.demo
@pytest.mark.timeout(1800)
def test_unit_tests_pass_without_the_demo(tmp_path: Path) -> None:
    copy = copy_without_demo(ROOT, tmp_path / "checkout")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-n", "2", "-q", "tests/unit"]
    done = subprocess.run(command, cwd=copy, env=variables, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 1_000
