"""The first steps of a newcomer: `make`, the choice of a Python, and a lock that every supported Python can install."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT
from tests.unit.test_style import python_files

MAKEFILE = (ROOT / "Makefile").read_text()
SUPPORTED = ("3.11", "3.12", "3.13")
LOCKS = ("requirements.txt", "requirements-dev.txt")
NO_INDEX = re.compile(r"Failed to fetch|error sending request|dns error|network was disabled|timed out", re.I)
PARSES = """
import pathlib, sys
for path in sys.argv[1:]:
    compile(pathlib.Path(path).read_bytes(), path, "exec", dont_inherit=True)
print("%d.%d: %d files" % (*sys.version_info[:2], len(sys.argv) - 1))
"""


def run(*command: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def phony() -> set[str]:
    """Targets that the Makefile declares."""
    return {target for line in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.M) for target in line.split()}


def test_make_lists_every_target_with_help() -> None:
    completed = run("make", "--no-print-directory")
    assert completed.returncode == 0, completed.stderr
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", completed.stdout, re.M))
    assert set(listed) == phony()
    assert len(listed) == len(completed.stdout.splitlines())


def test_every_declared_target_has_a_rule() -> None:
    assert phony() == set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))
    assert {"run", "test", "check", "clean"} <= phony()


@pytest.mark.parametrize("target", ["test-slow", "test-long", "test-bigquery", "chaos"])
def test_longer_targets_leave_out_no_slow_test(target: str) -> None:
    (targets,) = re.findall(r"^(.+): export MILLRACE_SLOW = 1$", MAKEFILE, re.M)
    assert target in targets.split()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def stub(path: Path, name: str, version: str) -> None:
    """Make a Python that only prints an unsupported version."""
    program = path / name
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit\nexit 1\n')
    program.chmod(0o755)


def make_venv(path: Path, venv: Path) -> "subprocess.CompletedProcess[str]":
    bash = shutil.which("bash")
    assert bash
    return run(bash, ROOT / "scripts" / "make_venv", venv, "0.0", PATH=str(path), PYTHON="")


@pytest.mark.parametrize(
    ("installed", "listed"),
    [
        ({}, "no python3"),
        ({"python3": "3.10.13"}, "Python 3.10.13"),
        ({"python3": "3.14.0"}, "Python 3.14.0"),
        ({"python3": "3.9.2", "python3.12": "2.7"}, "Python 3.9.2"),
    ],
    ids=["none", "too old", "too new", "several"],
)
def test_missing_python_is_explained_and_no_venv(
    path: Path, tmp_path: Path, installed: dict[str, str], listed: str
) -> None:
    for name, version in installed.items():
        stub(path, name, version)
    before = sorted(tmp_path.rglob("*"))
    completed = make_venv(path, tmp_path / "venv")
    assert completed.returncode == 1
    assert completed.stdout == ""
    assert completed.stderr.splitlines() == [
        f"error: Millrace needs Python 3.11, 3.12 or 3.13, and found {listed}; install one, or say which:"
        " make PYTHON=/path/to/python3.12 ..."
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_supported_versions_agree_everywhere() -> None:
    low, high = (tuple(map(int, v.split("."))) for v in (SUPPORTED[0], SUPPORTED[-1]))
    assert f'requires-python = ">={SUPPORTED[0]},<{high[0]}.{high[1] + 1}"' in (ROOT / "pyproject.toml").read_text()
    assert f"{low} <= sys.version_info[:2] < {(high[0], high[1] + 1)}" in (ROOT / "scripts" / "make_venv").read_text()
    assert all(f"--python-version {SUPPORTED[0]} {n.replace('.txt', '.in')}" in MAKEFILE for n in LOCKS)


def index() -> dict[str, str]:
    """Let uv use pip's index unless it has its own, as the Makefile does."""
    if any(os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        return {}
    for command in ("global.index-url", "install.index-url"):
        completed = run(sys.executable, "-m", "pip", "config", "get", command)
        if url := os.environ.get("PIP_INDEX_URL") or completed.stdout.strip():
            return {"UV_DEFAULT_INDEX": url}
    return {}


@pytest.mark.long
@pytest.mark.parametrize("version", [SUPPORTED[0], SUPPORTED[-1]])
def test_lock_installs_on_all_supported_pythons(tmp_path: Path, version: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip(f"{uv} is not installed; run make setup")
    locks = [part for name in LOCKS for part in ("-r", name)]
    completed = run(
        uv,
        "pip",
        "install",
        "--dry-run",
        "--require-hashes",
        "--python-version",
        version,
        "--target",
        tmp_path,
        *locks,
        UV_SYSTEM_CERTS="1",
        **index(),
    )
    if completed.returncode and NO_INDEX.search(completed.stderr):
        pytest.skip(f"no package index answers: {completed.stderr.strip().splitlines()[-1]}")
    assert completed.returncode == 0, completed.stderr
    assert "+ prefect==" in completed.stderr
    assert not [file for file in tmp_path.iterdir() if file.name != ".lock"]


def interpreter(version: str) -> str | None:
    """A Python of that version that works: from PATH, or one of pyenv's."""
    ours = [sys.executable] if sys.version_info[:2] == tuple(map(int, version.split("."))) else []
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in [*ours, f"python{version}", *map(str, pyenv)]:
        if shutil.which(candidate) and run(candidate, "-c", "").returncode == 0:
            return candidate
    return None


@pytest.mark.long
@pytest.mark.parametrize("version", SUPPORTED)
def test_every_file_parses_on_every_version(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no python{version} on PATH or in ~/.pyenv")
    files = list(python_files())
    completed = run(python, "-I", "-W", "error", "-c", PARSES, *files)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == f"{version}: {len(files)} files\n"
    assert len(files) > 100
