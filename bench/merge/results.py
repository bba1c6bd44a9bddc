"""Results that are kept: the newest of each machine, scenario and peer."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench.merge.environment import DLT

PACKAGES = ("apache-beam", "duckdb", "pyarrow", "polars")


@dataclass(frozen=True)
class Run:
    """One merge: `cpu_s` and `wall_s` in the process after its imports, the others of the whole process."""

    cpu_s: float
    wall_s: float
    process_cpu_s: float
    process_wall_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Result:
    """A peer's cost of a scenario; figures are medians, memory is the maximum of all runs."""

    scenario: str
    peer: str
    rows: int
    machine: str
    versions: str
    command: str
    day: str
    runs: tuple[Run, ...]

    @property
    def cpu_s(self) -> float:
        """CPU seconds after imports."""
        return median(run.cpu_s for run in self.runs)

    @property
    def wall_s(self) -> float:
        """Seconds after imports."""
        return median(run.wall_s for run in self.runs)

    @property
    def process_cpu_s(self) -> float:
        """CPU seconds of the whole process."""
        return median(run.process_cpu_s for run in self.runs)

    @property
    def process_wall_s(self) -> float:
        """Seconds of the whole process."""
        return median(run.process_wall_s for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        """Most memory of any run."""
        return max(run.peak_bytes for run in self.runs)


def machine() -> str:
    """Return a description of the machine; only results of one machine are compared."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def versions() -> str:
    """Versions of what does the work."""
    return ", ".join([*(f"{name} {version(name)}" for name in PACKAGES), f"dlt {DLT}"])


def load(file: Path) -> list[Result]:
    """All that is kept."""
    if not file.exists():
        return []
    bodies = json.loads(file.read_text())
    return [Result(**body | {"runs": tuple(Run(**run) for run in body["runs"])}) for body in bodies]


def keep(file: Path, new: list[Result]) -> list[Result]:
    """Add results, each in place of an older one; returns all."""
    merged = {(r.machine, r.scenario, r.peer): r for r in [*load(file), *new]}
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps([asdict(result) for result in merged.values()], indent=1))
    unfinished.replace(file)
    return list(merged.values())
