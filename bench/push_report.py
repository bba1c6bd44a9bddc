"""Writes the outcome of a load of pushes on a gateway, Prefect and a trigger into docs/benchmarks.md."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.push_load import Met

REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- pushes: begin -->", "<!-- pushes: end -->"
DRAIN_S = 120


@dataclass(frozen=True)
class Outcome:
    """Events and runs that a gateway and a trigger made of the load; `delivered` messages have an event.

    Seconds count from the last push; None means more than `DRAIN_S`.
    """

    met: Met
    messages: int
    events: int
    delivered: int
    runs: int
    events_drained_s: float | None
    runs_drained_s: float | None
    dropped: int
    cpu_s: dict[str, float]
    rss_mb: dict[str, float]


def _drained(seconds: float | None) -> str:
    return f"{seconds:.1f}" if seconds is not None else f"not within {DRAIN_S}"


def _both(figures: dict[str, float]) -> str:
    return " / ".join(f"{figure:.0f}" for figure in figures.values())


ROWS: dict[str, Callable[[Outcome], str]] = {
    "messages": lambda o: f"{o.messages:,}",
    "messages/s that the machine found time to send": lambda o: f"{o.messages / o.met.seconds:.0f}",
    "answers by status": lambda o: ", ".join(f"{k or 'none'}: {v:,}" for k, v in sorted(o.met.statuses.items())),
    "first answer, p50 / p99, ms": lambda o: f"{o.met.quantile_ms(0.5):.0f} / {o.met.quantile_ms(0.99):.0f}",
    "redeliveries": lambda o: f"{o.met.redelivered:,}",
    "messages not taken within two minutes": lambda o: f"{o.met.given_up:,}",
    "events in Prefect's database": lambda o: f"{o.events:,}",
    "messages for which one of them stands": lambda o: f"{o.delivered:,}",
    "deliveries that Prefect dropped inside (its log)": lambda o: f"{o.dropped:,}",
    "runs made": lambda o: f"{o.runs:,}",
    "all events in the database, s after the last push": lambda o: _drained(o.events_drained_s),
    "last run made, s after the last push": lambda o: _drained(o.runs_drained_s),
    "CPU, s: Prefect / gateway": lambda o: _both(o.cpu_s),
    "memory at the end, MB: Prefect / gateway": lambda o: _both(o.rss_mb),
}


def report(gathered: Outcome, naive: Outcome, setup: str, load: float) -> str:
    """The figures as Markdown; `load` is the machine's load average before it began."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    rows = "\n".join(f"| {text} | {of(gathered)} | {of(naive)} |" for text, of in ROWS.items())
    return f"""{BEGIN}
`make bench-pushes` on {datetime.now(UTC):%Y-%m-%d}: {setup}; {machine}; prefect {version("prefect")} with SQLite; load
average {load:.1f} before it began.

| | as deployed | an event for each message, a run for each event |
|---|---|---|
{rows}
{END}"""


def keep(text: str) -> None:
    """Put the figures in the place of those before."""
    before, rest = REPORT.read_text().split(BEGIN)
    REPORT.write_text(before + text + rest.split(END)[1])
