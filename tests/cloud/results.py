"""Results of a run in; a JSON file, lines for a person and an exit code out."""

import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.cloud.budget import Limits
from tests.cloud.checks.check import Result
from tests.cloud.cleanup import Cleaned
from tests.cloud.discovery import Json
from tests.cloud.target import Target
from tests.support.servers import ROOT

FORMAT = 1
PACKAGES = ("google-cloud-storage", "google-cloud-pubsub", "google-cloud-secret-manager", "google-cloud-bigquery")
CODES = {"pass": 0, "fail": 1, "unknown": 2}
MARKS = {"pass": "passed", "fail": "FAILED", "unknown": "unknown"}


@dataclass
class Report:
    """Everything about one run; written when it begins, after each step, and when it ends."""

    target: Target
    limits: Limits
    run: str
    path: Path
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    state: str = "running"
    results: list[Result] = field(default_factory=list)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    use: Json = field(default_factory=dict)
    cleaned: Cleaned | None = None

    def dump(self) -> Json:
        """Return the report as JSON values."""
        cleaned = asdict(self.cleaned) | {"proven": self.cleaned.proven} if self.cleaned else None
        return {
            "format": FORMAT,
            "run": self.run,
            "project": self.target.project,
            "location": self.target.location,
            "region": self.target.region,
            "on": "Google Cloud" if self.target.is_google else "local servers",
            "began": self.began,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "state": self.state,
            "commit": commit(),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in PACKAGES},
            "limits": asdict(self.limits),
            "use": self.use,
            "results": [result.dump() for result in self.results],
            "left_out": self.left_out,
            "clean_up": cleaned,
        }

    def write(self) -> None:
        """Replace the file of results."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(self.dump(), indent=1) + "\n")
        temporary.replace(self.path)

    @property
    def code(self) -> int:
        """Return the exit code: 1 when something failed, else 2 when something is unknown, else 0."""
        codes = {CODES[result.outcome] for result in self.results}
        if self.cleaned is not None and not self.cleaned.proven:
            codes.add(1)
        if self.state != "ended" and not codes & {1}:
            codes.add(2)
        return 1 if 1 in codes else (2 if 2 in codes else 0)


def commit() -> str:
    """Return the commit of the checkout, with a plus sign when files differ from it, '' without git."""
    try:
        command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        described = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return described.stdout.strip()


def line(result: Result) -> str:
    """Return a result as a line, with the repair below it."""
    repair = f"\n         {'':16}  To repair it, {result.repair}." if result.repair else ""
    return f"{MARKS[result.outcome]:8} {result.area:16}  {result.title}: {result.message}{repair}"


def summary(report: Report) -> str:
    """Return the last lines of a run: counts, use, clean-up."""
    counts = {kind: sum(result.outcome == kind for result in report.results) for kind in CODES}
    lines = [f"{counts['pass']} passed, {counts['fail']} failed, {counts['unknown']} unknown; results: {report.path}"]
    if report.use:
        used: Any = report.use
        lines.append(f"used {used['calls']:,} calls, {used['objects']:,} objects, about ${used['cost']:.4f}")
    if report.cleaned is not None:
        lines += cleaned_lines(report.cleaned)
    return "\n".join(lines)


def cleaned_lines(cleaned: Cleaned) -> list[str]:
    """Return what a clean-up did, in sentences."""
    lines = [f"The clean-up removed {len(cleaned.removed)} resources."]
    lines += [
        f"{item.kind}/{item.name} has the name of a run but not its label, and was left alone."
        for item in cleaned.foreign
    ]
    lines += [f"{sentence}." for sentence in cleaned.failed.values()]
    lines += [f"{item.kind}/{item.name} is still listed." for item in cleaned.left]
    if cleaned.proven:
        lines.append("Lists of all kinds show that no resource of the run is left.")
    else:
        lines.append(
            "Something is left or could not be listed; run `make cloud-smoke PROJECT=… ARGS=--clean-up` again."
        )
    return lines
