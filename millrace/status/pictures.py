"""Pictures of the status page: stations, balances and durations in, SVG with escaped text out; pure."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from millrace.domain.batch import Balance
from millrace.status.formats import HEALTH, count, figure, when
from millrace.status.types import BatchStatus, GateRun, Station, StepRun

TERMS = ("merged", "superseded", "stale", "quarantined")
SECTIONS = {
    "source": "sources",
    "lake": "streams",
    "events": "steps",
    "merge": "streams",
    "gate": "quality",
    "marts": "marts",
}
WIDE, WIDE_H, STEP_W, AXIS_Y = 1200, 188, 200, 48
TALL, TALL_STEP, AXIS_X = 360, 104, 40
BARS_W, BARS_H = 240, 30
SHOWN_BARS = 40


def way_wide(stations: Sequence[Station]) -> Markup:
    """Draw the stations from left to right, for screens."""
    points = [(STEP_W // 2 + i * STEP_W, AXIS_Y) for i in range(len(stations))]
    d = f"M-20 {AXIS_Y} " + " ".join(
        f"Q{x - STEP_W // 4} {AXIS_Y + (14 if i % 2 else -14)} {x} {AXIS_Y}" for i, (x, _) in enumerate(points)
    )
    d += f" Q{WIDE - 50} {AXIS_Y + 14} {WIDE + 20} {AXIS_Y}"
    nodes = Markup("").join(_node(s, x, y, x, y + 52, "middle") for s, (x, y) in zip(stations, points, strict=True))
    return _way("wide", WIDE, WIDE_H, d, nodes)


def way_tall(stations: Sequence[Station]) -> Markup:
    """Draw the stations from top to bottom, for phones."""
    points = [(AXIS_X, 44 + i * TALL_STEP) for i in range(len(stations))]
    end = len(stations) * TALL_STEP
    d = f"M{AXIS_X} -10 " + " ".join(
        f"Q{AXIS_X + (10 if i % 2 else -10)} {y - TALL_STEP // 2} {AXIS_X} {y}" for i, (_, y) in enumerate(points)
    )
    nodes = Markup("").join(_node(s, x, y, x + 44, y - 16, "start") for s, (x, y) in zip(stations, points, strict=True))
    return _way("tall", TALL, end, d, nodes)


def _way(kind: str, width: int, height: int, d: str, nodes: Markup) -> Markup:
    return Markup(
        '<svg class="way {}" viewBox="0 0 {} {}" role="group" aria-label="Stations from the source to the marts">'
        '<path class="bed" d="{}"/><path class="water" d="{}"/>{}</svg>'
    ).format(kind, width, height, d, d, nodes)


def _node(station: Station, x: int, y: int, text_x: int, text_y: int, align: str) -> Markup:
    first, second = station.figures
    glyph, health = HEALTH[station.health]
    summary = f"{station.title}: {health}; {figure(first)} {first.label}, {figure(second)} {second.label}"
    return Markup(
        '<a href="#{}" class="station {}" aria-label="{}"><title>{}</title>{}'
        '<text class="glyph" x="{}" y="{}">{}</text>'
        '<g text-anchor="{}"><text class="name" x="{}" y="{}">{}</text>'
        '<text class="big" x="{}" y="{}">{}</text><text class="label" x="{}" y="{}">{}</text>'
        '<text class="label" x="{}" y="{}">{} {}</text></g></a>'
    ).format(
        SECTIONS[station.key],
        station.health,
        summary,
        station.note or summary,
        _disc(station, x, y),
        x,
        y + 6,
        glyph,
        align,
        text_x,
        text_y,
        station.title,
        text_x,
        text_y + 32,
        figure(first),
        text_x,
        text_y + 52,
        first.label,
        text_x,
        text_y + 72,
        figure(second),
        second.label,
    )


def _disc(station: Station, x: int, y: int) -> Markup:
    """Draw a station's disc; the last one is the wheel of the mill."""
    disc = Markup('<circle class="disc" cx="{}" cy="{}" r="20"/>').format(x, y)
    if station.key != "marts":
        return disc
    spokes = " ".join(
        f"M{x + 20 * math.cos(a):.1f} {y + 20 * math.sin(a):.1f}L{x + 30 * math.cos(a):.1f} {y + 30 * math.sin(a):.1f}"
        for a in (i * math.pi / 6 for i in range(12))
    )
    return Markup(
        '<g class="wheel" style="transform-origin:{}px {}px"><path d="{}"/><circle cx="{}" cy="{}" r="26"/></g>{}'
    ).format(x, y, spokes, x, y, disc)


def balance_bar(balance: Balance) -> Markup:
    """Draw the terms of a balance in proportion; a term that is not 0 is visible however small."""
    shares = [(term, getattr(balance, term)) for term in TERMS if getattr(balance, term)]
    terms = ", ".join(f"{count(getattr(balance, term))} {term}" for term in TERMS)
    total, least = sum(n for _, n in shares) or 1, 1.5
    widths = [max(least, 100 * n / total) for _, n in shares]
    scale, x, parts = 100 / (sum(widths) or 1), 0.0, Markup("")
    for (term, _), width in zip(shares, widths, strict=True):
        parts += Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="10"/>').format(term, x, width * scale)
        x += width * scale
    return Markup(
        '<svg class="balance" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(f"{count(balance.rows_in)} rows landed: {terms}", parts)


def history(batches: Sequence[BatchStatus]) -> Markup:
    """Draw the rows of the newest batches, oldest first; those with quarantined rows are highlighted."""
    newest = list(batches[:SHOWN_BARS])[::-1]
    bars = [
        (b.balance.rows_in, "bad" if b.balance.quarantined else "", f"{when(b.at)}: {count(b.balance.rows_in)} rows")
        for b in newest
    ]
    return _bars(bars, f"Rows of the newest {len(newest)} batches")


def durations(runs: Sequence[StepRun]) -> Markup:
    """Draw the seconds of a step's newest runs, oldest first."""
    bars = [(r.seconds, "" if r.good else "bad", f"{when(r.at)}: {r.seconds:.1f} s") for r in runs[-SHOWN_BARS:]]
    return _bars(bars, f"Seconds of the newest {len(bars)} runs")


def gate_history(runs: Sequence[GateRun]) -> Markup:
    """Draw the number of expectations in each run of the gate, oldest first; failed runs are highlighted."""
    newest = [run.found for run in runs[:SHOWN_BARS]][::-1]
    bars = [
        (
            f.held + f.failed + f.left_out + f.warned,
            "bad" if f.failed else "look" if f.left_out or f.warned else "good",
            f"{when(f.at)}: {f.held} hold, {f.failed} stop, {f.left_out} quarantine rows, {f.warned} warn",
        )
        for f in newest
    ]
    return _bars(bars, f"The newest {len(newest)} runs of the gate")


def _bars(bars: Sequence[tuple[float, str, str]], label: str) -> Markup:
    most, step = max((value for value, _, _ in bars), default=0) or 1, min(10.0, BARS_W / max(1, len(bars)))
    rects = Markup("")
    for index, (value, kind, title) in enumerate(bars):
        height = max(2.0, BARS_H * value / most)
        rects += Markup(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
        ).format(kind, index * step, BARS_H - height, max(1.5, step - 2), height, title)
    return Markup('<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        BARS_W, BARS_H, label, rects
    )
