"""The workflow that `millrace init` writes for continuous integration, step by step as a runner gives them to a shell.

Stand-ins are the two actions (a clone of the project's repository, and the uv of this machine) and, of `uv pip
install`, the package index: a wheel of this checkout is installed, its dependencies are those of this environment.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.new_project import create_project
from tests.support.wheel import build_wheel

ACTIONS = {"actions/checkout", "astral-sh/setup-uv"}
UV = Path(sys.executable).with_name("uv")
INSTALL = """#!/bin/sh
set -eu
if [ "$1 $2" != "pip install" ]; then exec {uv} "$@"; fi
[ "$3" = "millrace=={version}" ] || {{ echo "the index has no $3" >&2; exit 1; }}
[ -x .venv/bin/python ] || {{ echo "no environment .venv was made" >&2; exit 1; }}
{uv} pip install --quiet --offline --no-deps --python .venv/bin/python {wheel}
echo {packages} > .venv/lib/python3.11/site-packages/dependencies.pth
sed "1s,.*,#!$PWD/.venv/bin/python," {scripts}/dbt > .venv/bin/dbt
chmod +x .venv/bin/dbt
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with this Python, and a `uv` that installs our wheel without a network."""
    folder = tmp_path_factory.mktemp("tools")
    wheel = build_wheel(folder / "wheel")
    text = INSTALL.format(
        uv=UV,
        version=wheel.name.split("-")[1],
        wheel=wheel,
        packages=sysconfig.get_path("purelib"),
        scripts=Path(sys.executable).parent,
    )
    (folder / "uv").write_text(text)
    (folder / "uv").chmod(0o755)
    (folder / "python3.11").symlink_to(Path(sys.executable).resolve())
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a new project whose files are committed."""
    project = tmp_path / "shop"
    create_project(project)
    git(project, "init", "--quiet")
    commit(project)
    return project


def git(folder: Path, *arguments: str) -> None:
    own = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True)


def commit(project: Path) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "-m", "all")


def steps(project: Path) -> list[dict[str, Any]]:
    workflow = yaml.safe_load((project / ".github" / "workflows" / "ci.yaml").read_text())
    (job,) = workflow["jobs"].values()
    return list(job["steps"])


def run_workflow(project: Path, tools: Path, clone: Path) -> tuple[str, str]:
    """Run each step as GitHub's runner does; return the step that failed, '' for none, and its output."""
    git(project, "clone", "--quiet", str(project), str(clone))
    home = clone.with_name(f"{clone.name}-home")
    home.mkdir()
    environment = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "HOME": str(home),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": str(tools / "cache"),
        "CI": "true",
    } | {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
    for step in steps(project):
        if "uses" in step:
            assert step["uses"].split("@")[0] in ACTIONS
            continue
        shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        done = subprocess.run(shell, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            return step["run"], done.stdout + done.stderr
    return "", ""


def test_workflow_passes_in_a_new_project(repository: Path, tools: Path, tmp_path: Path) -> None:
    assert run_workflow(repository, tools, tmp_path / "clone") == ("", "")
    installed = tmp_path / "clone" / ".venv" / "lib" / "python3.11" / "site-packages" / "millrace"
    assert (installed / "project.py").exists(), "the platform is that of the wheel"


def test_workflow_finds_stale_files_and_broken_models(repository: Path, tools: Path, tmp_path: Path) -> None:
    model = repository / "dbt_project" / "models" / "marts" / "sales.sql"
    model.write_text("select * from {{ ref('nothing') }}")
    commit(repository)
    step, output = run_workflow(repository, tools, tmp_path / "broken")
    assert step.startswith(".venv/bin/dbt parse"), output
    assert "nothing" in output
    merged = repository / "dbt_project" / "macros" / "merged.sql"
    merged.write_text("-- edited by hand")
    commit(repository)
    step, output = run_workflow(repository, tools, tmp_path / "stale")
    assert step == ".venv/bin/millrace contracts check", output
    assert "merged.sql" in output
