"""Compares the figures with the goals; a goal without figures is left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.merge.peers import DEFAULT, DLT, ELEMENT, OURS, RAW, TITLES
from bench.merge.results import Result

Figures = Mapping[tuple[str, str], Result]
PEAK_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Ratio:
    """CPU seconds for each row of one (scenario, peer) over those of another, and the bound."""

    text: str
    over: tuple[str, str]
    under: tuple[str, str]
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A goal, the figure measured, and whether it is met."""

    text: str
    figure: str
    met: bool


def _beside(scenario: str, peer: str, at_most: float | None = None, at_least: float | None = None) -> Ratio:
    if at_most:
        text = f"{scenario}: CPU at most {at_most} times that of {TITLES[peer]}"
        return Ratio(text, (scenario, OURS), (scenario, peer), at_most=at_most)
    text = f"{scenario}: CPU at least {at_least} times less than {TITLES[peer]}"
    return Ratio(text, (scenario, peer), (scenario, OURS), at_least=at_least)


RATIOS = (
    _beside("1M-into-10M", RAW, at_most=1.3),
    _beside("10M-into-10M", RAW, at_most=1.3),
    _beside("1M-into-10M", DEFAULT, at_most=1.3),
    _beside("10M-into-10M", DEFAULT, at_most=1.3),
    _beside("1M-into-10M", DLT, at_least=1.6),
    _beside("10M-into-10M", DLT, at_least=1.6),
    _beside("1M-into-10M", ELEMENT, at_least=20),
    Ratio(
        "10M rows at once: CPU for each row at most 1.3 times that of 1M rows, into 10M",
        ("10M-into-10M", OURS),
        ("1M-into-10M", OURS),
        at_most=1.3,
    ),
    Ratio(
        "Partitioned table of 10M rows, batch in its last days: CPU at most 1.3 times that of a table of 1M (flat)",
        ("recent-into-10M", OURS),
        ("recent-into-1M", OURS),
        at_most=1.3,
    ),
)


def judge(figures: Figures) -> list[Outcome]:
    """Every goal for which there are figures."""
    return [*_judge_ratios(figures), *_judge_memory(figures)]


def _judge_ratios(figures: Figures) -> Iterator[Outcome]:
    for ratio in RATIOS:
        over, under = figures.get(ratio.over), figures.get(ratio.under)
        if over and under:
            value = (over.cpu_s / over.rows) / (under.cpu_s / under.rows)
            most, least = ratio.at_most or float("inf"), ratio.at_least or 0.0
            yield Outcome(ratio.text, f"{value:.2f}", least <= value <= most)


def _judge_memory(figures: Figures) -> Iterator[Outcome]:
    own = [result for (_, peer), result in figures.items() if peer == OURS]
    if own:
        most = max(own, key=lambda result: result.peak_bytes)
        text = f"Peak memory under {PEAK_BYTES / 1e9:.0f} GB in all {len(own)} scenarios measured"
        figure = f"{most.peak_bytes / 1e6:,.0f} MB in {most.scenario}"
        yield Outcome(text, figure, most.peak_bytes < PEAK_BYTES)
