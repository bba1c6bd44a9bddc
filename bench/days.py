"""Days of real data through the whole stack, beside the bare script, in one run: `python -m bench.days --days 7`.

Writes the figures to docs/benchmarks.md.
"""

import argparse
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.measure import Measured, measure

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- days: begin -->", "<!-- days: end -->"
STACK_DAY = re.compile(r"^ +(\d+) .* (\d+\.\d) s +(\d+\.\d) s$", re.MULTILINE)
BARE_DAY = re.compile(r"^day \d+: (\d+\.\d) s$", re.MULTILINE)
PACKAGES = ("prefect", "apache-beam", "duckdb", "dbt-core", "great-expectations")
GOALS = {"in_all_s": 360, "landing_s": 60, "peak_bytes": 4 << 30, "ratio": 2}


@dataclass(frozen=True)
class Figures:
    """Measurements of one run of the stack and one run of the script."""

    days: int
    stack: Measured
    bare: Measured

    @property
    def stack_days(self) -> list[float]:
        """Seconds of each day in the stack."""
        return [float(day) for _, _, day in STACK_DAY.findall(self.stack.output)]

    @property
    def landing(self) -> list[float]:
        """Seconds from each day's landing to its published marts."""
        return [float(landing) for _, landing, _ in STACK_DAY.findall(self.stack.output)]

    @property
    def bare_days(self) -> list[float]:
        """Seconds of each day in the script."""
        return [float(day) for day in BARE_DAY.findall(self.bare.output)]

    @property
    def ratio(self) -> float:
        """Whole process against whole process, in wall time."""
        return self.stack.wall_s / self.bare.wall_s


def run(days: int) -> Figures:
    """Run both, one after the other, each from nothing; both check every figure of their marts.

    Raises:
        SystemExit: one of them failed; the message has its output.
    """
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        stack = measure(
            [sys.executable, "-m", "local", "--state", f"{folder}/stack", "run", "--days", str(days), "--exit"], ROOT
        )
        bare = measure([sys.executable, "-m", "bench.bare", "--days", str(days), "--state", f"{folder}/bare"], ROOT)
    for name, measured in (("the stack", stack), ("the bare script", bare)):
        if measured.code:
            raise SystemExit(f"{name} ended with {measured.code}:\n{measured.output[-4000:]}")
    return Figures(days, stack, bare)


def report(figures: Figures, now: datetime) -> str:
    """The figures as Markdown."""
    stack, bare = figures.stack, figures.bare
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    days = figures.days

    def goal(met: bool, text: str) -> str:
        return f"{text}: {'met' if met else '**not met**'}"

    return f"""{BEGIN}
`make bench ARGS="--days {days}"` on {now:%Y-%m-%d}; {machine}; {packages}.

| {days} days, from nothing, every figure checked | whole stack (`make run`) | bare script (`bench/bare.py`) | ratio |
|---|---|---|---|
| wall time, whole process, s | {stack.wall_s:.0f} | {bare.wall_s:.0f} | {figures.ratio:.2f} |
| CPU time, all processes, s | {stack.cpu_s:.0f} | {bare.cpu_s:.0f} | {stack.cpu_s / bare.cpu_s:.2f} |
| peak memory, all processes, MB | {stack.peak_bytes / 1e6:,.0f} | {bare.peak_bytes / 1e6:,.0f} | |
| first day, s | {figures.stack_days[0]:.1f} | {figures.bare_days[0]:.1f} | |
| other days, mean, s | {_mean(figures.stack_days[1:])} | {_mean(figures.bare_days[1:])} | |
| landing → published marts, slowest day, s | {max(figures.landing):.1f} | | |

- {goal(stack.wall_s <= GOALS["in_all_s"], f"Seven days within {GOALS['in_all_s']} s, servers' start included")}
- {goal(max(figures.landing) <= GOALS["landing_s"], f"Landing → published marts within {GOALS['landing_s']} s")}
- {goal(stack.peak_bytes <= GOALS["peak_bytes"], "Peak memory of the stack under 4 GiB")}
- {goal(figures.ratio <= GOALS["ratio"], f"At most {GOALS['ratio']} times the bare script's wall time")}
{END}"""


def _mean(seconds: list[float]) -> str:
    return f"{sum(seconds) / len(seconds):.1f}" if seconds else "–"


def main() -> int:
    """Measure, print, and keep the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.days", description=__doc__)
    parser.add_argument("--days", type=int, default=7, help="days of January 2013 (7)")
    options = parser.parse_args()
    table = report(run(options.days), datetime.now(UTC))
    print(table)
    text = REPORT.read_text()
    before, rest = text.split(BEGIN)
    REPORT.write_text(before + table + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
