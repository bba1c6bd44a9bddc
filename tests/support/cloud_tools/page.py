"""docs/deploy.md as a program: its commands in order, in a sandbox, with another project's names and free ports."""

import os
import re
import shutil
import subprocess
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.cloud_tools import gcloud, helm, images, kubectl, terraform
from tests.support.cloud_tools.cloud import Answers, Cloud
from tests.support.cloud_tools.line import Line, path_with, write_program
from tests.support.servers import ROOT, free_port

PAGE = ROOT / "docs" / "deploy.md"
BLOCK = re.compile(r"^( *)```bash\n(.*?)^ *```$", re.M | re.S)
ELSEWHERE = "A cluster on one machine"  # needs kind, and no Google Cloud
EXAMPLE = re.compile(r"millrace-example|europe-west1|gateway\.example\.com")
SECTION = re.compile(r"^## (.+)$", re.M)
TOOLS = {
    "gcloud": gcloud.answer,
    "terraform": terraform.answer,
    "kubectl": kubectl.answer,
    "helm": helm.answer,
    "docker": images.docker,
    "bq": images.bq,
}
NOT_COPIED = shutil.ignore_patterns(
    ".git",
    ".venv*",
    ".millrace",
    ".hypothesis",
    ".*_cache",
    "__pycache__",
    "tests",
    "docs",
    "local",
    "bench",
    "*.duckdb",
)
HEAD = """set -eo pipefail
trap 'echo "refused: line $LINENO of the page: $BASH_COMMAND" >&2' ERR
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
"""


def blocks(section: str) -> list[str]:
    """Return the commands of a section of the page, block by block."""
    parts = SECTION.split(PAGE.read_text())
    text = dict(zip(parts[1::2], parts[2::2], strict=True))[section]
    return [textwrap.dedent(match[2]) for match in BLOCK.finditer(text)]


def sections() -> list[str]:
    """Return the sections that have commands, in order."""
    parts = SECTION.split(PAGE.read_text())
    return [title for title, text in zip(parts[1::2], parts[2::2], strict=True) if BLOCK.search(text)]


def whole() -> list[str]:
    """Return all commands of the page, block by block."""
    return [block for section in sections() if section != ELSEWHERE for block in blocks(section)]


@dataclass(frozen=True)
class Names:
    """What a reader puts into the page's first step."""

    project: str
    region: str
    location: str
    domain: str

    def put_into(self, script: str) -> str:
        """Return commands with these names in the place of the page's own."""
        for variable, value in (
            ("PROJECT", self.project),
            ("REGION", self.region),
            ("LOCATION", self.location),
            ("DOMAIN", self.domain),
        ):
            script = re.sub(rf"^(export .*\b{variable}=)\S+", rf"\g<1>{value}", script, flags=re.M)
        return script


@dataclass
class Place:
    """A checkout in a folder, the programs of the page beside it, and the ports that its port-forwards have."""

    folder: Path
    cloud: Cloud
    names: Names | None = None  # None: those of the page
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.checkout, programs = self.folder / "checkout", self.folder / "bin"
        shutil.copytree(ROOT, self.checkout, ignore=NOT_COPIED)
        programs.mkdir()
        (self.folder / "home").mkdir()
        address = self.folder / "line"
        for name in TOOLS:
            write_program(programs, name, address)
        self.line = Line(address, Answers(self.cloud, TOOLS, kubectl.forward))

    def environment_with(self, **programs: str) -> None:
        """Write the checkout's own environment: programs by name, each a line of shell. `make` finds it ready."""
        folder = self.checkout / ".venv" / "bin"
        folder.mkdir(parents=True)
        for name, line in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / name).chmod(0o755)
        (folder.parent / "ready").touch()

    def traces(self) -> list[str]:
        """Return where the page's own names are in what was given to programs, applied, or written."""
        calls = [f"{c.command} {c.words} {c.options}" for c in self.cloud.calls]
        objects = [str(o) for o in self.cloud.cluster.objects.values()]
        files = [
            self.checkout / "k8s" / "overlays" / "gke" / "settings.env",
            self.checkout / "k8s" / "airbyte" / "project.yaml",
        ]
        return [text for text in (*calls, *objects, *(file.read_text() for file in files)) if EXAMPLE.search(text)]

    def run(self, *scripts: str, timeout_s: float = 1700) -> "subprocess.CompletedProcess[str]":
        """Give commands as a reader does, in one shell; the first that fails ends it."""
        text = "\n".join(scripts)
        text = self.names.put_into(text) if self.names else text
        file = self.folder / "page.sh"
        file.write_text(HEAD + text)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "PREFECT_", "GOOGLE_"))}
        own = {
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(self.checkout),
            "PREFECT_HOME": str(self.folder / "home"),
            "PREFECT_PORT": str(free_port()),
            "AIRBYTE_PORT": str(free_port()),
        }
        return subprocess.run(
            ["bash", str(file)],
            cwd=self.checkout,
            env=inherited | own | {"PATH": path_with(self.folder / "bin")} | self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
