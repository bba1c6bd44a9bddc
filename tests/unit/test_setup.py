"""What a newcomer meets first: `make`, the choice of a Python, and a lock that every supported Python can install."""

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


def test_make_without_a_target_lists_every_target_with_what_it_does() -> None:
    said = run("make", "--no-print-directory")
    assert said.returncode == 0, said.stderr
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", said.stdout, re.M))
    assert set(listed) == phony()
    assert len(listed) == len(said.stdout.splitlines())


def test_every_declared_target_has_a_rule() -> None:
    assert phony() == set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))
    assert {"run", "test", "check", "clean"} <= phony()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def stub(path: Path, name: str, version: str) -> None:
    """A Python that tells a version which does not fit, and can do nothing else."""
    program = path / name
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit\nexit 1\n')
    program.chmod(0o755)


def make_venv(path: Path, venv: Path) -> "subprocess.CompletedProcess[str]":
    bash = shutil.which("bash")
    assert bash
    return run(bash, ROOT / "scripts" / "make_venv", venv, "0.0", PATH=str(path), PYTHON="")


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({}, "no python3"),
        ({"python3": "3.10.13"}, "Python 3.10.13"),
        ({"python3": "3.14.0"}, "Python 3.14.0"),
        ({"python3": "3.9.2", "python3.12": "2.7"}, "Python 3.9.2"),
    ],
    ids=["none", "too old", "too new", "several"],
)
def test_without_a_fitting_python_setup_says_what_it_found_and_what_to_do_and_makes_nothing(
    path: Path, tmp_path: Path, there: dict[str, str], found: str
) -> None:
    for name, version in there.items():
        stub(path, name, version)
    before = sorted(tmp_path.rglob("*"))
    said = make_venv(path, tmp_path / "venv")
    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr.splitlines() == [
        f"error: Millrace needs Python 3.11, 3.12 or 3.13, and found {found}; install one, or say which:"
        " make PYTHON=/path/to/python3.12 ..."
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_supported_versions_are_the_same_everywhere() -> None:
    low, high = (tuple(map(int, v.split("."))) for v in (SUPPORTED[0], SUPPORTED[-1]))
    assert f'requires-python = ">={SUPPORTED[0]},<{high[0]}.{high[1] + 1}"' in (ROOT / "pyproject.toml").read_text()
    assert f"{low} <= sys.version_info[:2] < {(high[0], high[1] + 1)}" in (ROOT / "scripts" / "make_venv").read_text()
    assert all(f"--python-version {SUPPORTED[0]} {n.replace('.txt', '.in')}" in MAKEFILE for n in LOCKS)


def index() -> dict[str, str]:
    """Let uv use pip's index where it has none of its own, as the Makefile does."""
    if any(os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        return {}
    for command in ("global.index-url", "install.index-url"):
        said = run(sys.executable, "-m", "pip", "config", "get", command)
        if url := os.environ.get("PIP_INDEX_URL") or said.stdout.strip():
            return {"UV_DEFAULT_INDEX": url}
    return {}


@pytest.mark.parametrize("version", [SUPPORTED[0], SUPPORTED[-1]])
def test_the_lock_can_be_installed_at_both_ends_of_the_supported_versions(tmp_path: Path, version: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip(f"{uv} is not installed; run make setup")
    locks = [part for name in LOCKS for part in ("-r", name)]
    said = run(
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
    if said.returncode and NO_INDEX.search(said.stderr):
        pytest.skip(f"no package index answers: {said.stderr.strip().splitlines()[-1]}")
    assert said.returncode == 0, said.stderr
    assert "+ prefect==" in said.stderr
    assert not [file for file in tmp_path.iterdir() if file.name != ".lock"]


def interpreter(version: str) -> str | None:
    """A Python of that version that works: from PATH, or one of pyenv's."""
    ours = [sys.executable] if sys.version_info[:2] == tuple(map(int, version.split("."))) else []
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in [*ours, f"python{version}", *map(str, pyenv)]:
        if shutil.which(candidate) and run(candidate, "-c", "").returncode == 0:
            return candidate
    return None


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_file_is_python_of_every_supported_version(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no python{version} on PATH or in ~/.pyenv")
    files = list(python_files())
    said = run(python, "-I", "-W", "error", "-c", PARSES, *files)
    assert said.returncode == 0, said.stderr
    assert said.stdout == f"{version}: {len(files)} files\n"
    assert len(files) > 100
