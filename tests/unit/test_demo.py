"""Outside `local/demo` no code of the platform names the demo's source or its data set."""

import re
import subprocess

import pytest

from tests.support.servers import ROOT

PLATFORM = ("millrace", "beam_job", "blocks", "tasks", "flows", "cli", "local")
DEMO = "local/demo/"
NAMES = re.compile(r"airport_ops|nycflights")


def tracked_files(folder: str) -> list[str]:
    """Return the tracked files of a folder that exist, without those of the demo."""
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return [f for f in listed.stdout.splitlines() if not f.startswith(DEMO) and (ROOT / f).is_file()]


@pytest.mark.parametrize("folder", PLATFORM)
def test_platform_code_never_names_the_demo(folder: str) -> None:
    files = tracked_files(folder)
    lines = [(f, line) for f in files for line in (ROOT / f).read_text(errors="replace").splitlines()]
    assert files
    assert [f"{f}: {line.strip()}" for f, line in lines if NAMES.search(line)] == []
