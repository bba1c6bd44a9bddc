"""Results as Markdown, between markers of docs/benchmarks.md, with a plot."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.merge.goals import Figures, judge
from bench.merge.peers import RAW, TITLES
from bench.merge.plot import draw
from bench.merge.results import Result
from bench.merge.scenarios import QUICK, SCENARIOS, Scenario

BEGIN, END = "<!-- merge: begin -->", "<!-- merge: end -->"
PLOT = "images/merge.svg"
HEAD = """| scenario | peer | CPU, s | wall, s | CPU with imports, s | wall with imports, s | peak, MB | CPU, raw = 1 |
|---|---|---|---|---|---|---|---|"""


def write_report(docs: Path, results: Sequence[Result]) -> None:
    """Put results into `benchmarks.md`, and their plot beside it; scenarios of `--quick` stay out."""
    shown = {(r.scenario, r.peer): r for r in results if not r.scenario.startswith(QUICK)}
    plot = draw(shown)
    if plot:
        (docs / PLOT).write_text(plot)
    page = docs / "benchmarks.md"
    page.write_text(insert(page.read_text(), report(shown, PLOT if plot else "")))


def insert(page: str, text: str) -> str:
    """The page with another text between the markers."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}"


def report(figures: Figures, plot: str = "") -> str:
    """Return the figures as Markdown, without those that were not measured."""
    if not figures:
        return "No results yet."
    parts = [_conditions(figures.values()), _goals(figures), table(figures)]
    if plot:
        parts.insert(2, f"![CPU seconds by rows of the batch]({plot})")
    return "\n\n".join(parts)


def table(figures: Figures) -> str:
    """A row for each scenario and peer."""
    measured = [s for s in SCENARIOS if any(scenario == s.name for scenario, _ in figures)]
    return "\n".join([HEAD, *(line for scenario in measured for line in _lines(scenario, figures))])


def _lines(scenario: Scenario, figures: Figures) -> Iterable[str]:
    raw = figures.get((scenario.name, RAW))
    title = f"**{scenario.name}**: {scenario.text}"
    for peer in scenario.peers:
        if r := figures.get((scenario.name, peer)):
            ratio = f"{r.cpu_s / raw.cpu_s:.2f}" if raw else ""
            yield (
                f"| {title} | {TITLES[peer]} | {r.cpu_s:.2f} | {r.wall_s:.2f} | {r.process_cpu_s:.1f}"
                f" | {r.process_wall_s:.1f} | {r.peak_bytes / 1e6:,.0f} | {ratio} |"
            )
            title = ""


def _conditions(results: Iterable[Result]) -> str:
    rows = list(results)
    days = sorted({r.day for r in rows})
    repeats = sorted({len(r.runs) for r in rows})
    commands = "; ".join(f"`{command}`" for command in sorted({r.command for r in rows}))
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    times = str(repeats[0]) if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    machines = "; ".join(sorted({f"{r.machine}; {r.versions}" for r in rows}))
    return f"{commands} on {when}; {machines}; medians of {times} interleaved runs, of memory the most."


def _goals(figures: Figures) -> str:
    return "\n".join(f"- {o.text}: {o.figure}, {'met' if o.met else '**not met**'}" for o in judge(figures))
