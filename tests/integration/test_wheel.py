"""The wheel in an environment of its own: a new project and its stack, without a checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from millrace.gateway.app import STACK_HEADER
from tests.support.servers import ROOT
from tests.support.wheel import build_wheel

UV = Path(sys.executable).with_name("uv")
UP_S, INSTALL_S = 1200, 900

pytestmark = [pytest.mark.long, pytest.mark.timeout(3000)]


def run(*command: str | Path, cwd: Path, home: Path, timeout_s: float = 300) -> str:
    """Run a command with an empty home and no variable of ours; return its output."""
    others = {
        k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "PREFECT_", "PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        command, cwd=cwd, env=others | {"HOME": str(home)}, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def millrace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command line of an environment that has the wheel and its dependencies only."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(folder)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    locked = ["--constraint", str(ROOT / "requirements.txt")]
    install = [UV, "pip", "install", "--quiet", "--python", python, *locked, wheel]
    done = subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode and "error sending request" in done.stderr.lower():
        pytest.skip(f"the package index can't be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return python.with_name("millrace")


def test_wheel_runs_a_project_of_ones_own(millrace: Path, tmp_path: Path) -> None:
    home, shop = tmp_path / "home", tmp_path / "shop"
    home.mkdir()
    run(millrace, "init", "shop", cwd=tmp_path, home=home)
    try:
        assert "the stack is up" in run(millrace, "up", cwd=shop, home=home, timeout_s=UP_S)
        ports = json.loads((shop / ".millrace" / "ports.json").read_text())
        health = httpx.get(f"http://127.0.0.1:{ports['gateway']}/healthz")
        assert (health.status_code, bool(health.headers[STACK_HEADER])) == (200, True)
        servers = json.loads(run(millrace, "status", "--servers", "--json", cwd=shop, home=home))
        assert all(server["answers"] for server in servers)
        assert (shop / ".millrace" / "project").is_symlink()
        assert "completed" in run(millrace, "start", "reconcile", cwd=shop, home=home)
        assert run(millrace, "explain", "HeadMoved", cwd=shop, home=home)
    finally:
        run(millrace, "down", cwd=shop, home=home)
