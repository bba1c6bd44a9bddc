"""Follows `docs/add-a-source.md` word by word, in a copy of the checkout, with the addresses of a test's servers."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import ROOT

PAGE = ROOT / "docs" / "add-a-source.md"
BLOCK = re.compile(r"^(?:`(?P<file>[\w./-]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
PORT = "8090"
LEFT_OUT = shutil.ignore_patterns(".git", ".millrace", ".venv*", "__pycache__", "*_cache", "target", "logs")


@dataclass(frozen=True)
class Said:
    """One command of the page, and its output."""

    command: str
    output: str


def follow(folder: Path, port: int, environment: Mapping[str, str]) -> list[Said]:
    """Write the page's files and run its commands, but for the one that serves; `port` stands for its port."""
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=LEFT_OUT)
    outputs = []
    for block in BLOCK.finditer(PAGE.read_text()):
        text = block["text"].replace(PORT, str(port))
        if block["kind"] == "yaml":
            (checkout / block["file"]).write_text(text)
        for command in text.splitlines() if block["kind"] == "bash" else ():
            if not command.endswith("&"):
                outputs.append(Said(command, _run(command, checkout, environment)))
    return outputs


def _run(command: str, checkout: Path, environment: Mapping[str, str]) -> str:
    completed = subprocess.run(
        ["bash", "-c", command],
        cwd=checkout,
        env={**environment, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, f"{command}\n{completed.stdout}\n{completed.stderr}"
    return completed.stdout + completed.stderr
