"""Builds the platform's wheel from a copy of the checkout, without a network."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.servers import ROOT

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "tests", "bench")


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder; return its file."""
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT, symlinks=True)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=folder / "source", check=True)
    (wheel,) = folder.glob("millrace-*.whl")
    return wheel
