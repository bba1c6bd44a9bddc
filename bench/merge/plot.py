"""CPU seconds by rows of the batch, for each peer, both axes logarithmic: a small SVG by hand."""

from collections.abc import Iterator
from math import ceil, floor, log10

from bench.merge.goals import Figures
from bench.merge.peers import DEFAULT, DLT, ELEMENT, OURS, RAW, TITLES
from bench.merge.scenarios import SCENARIOS, short

SHOWN = ("100k-into-10M", "1M-into-10M", "10M-into-10M")
COLOURS = {OURS: "#0b6e4f", RAW: "#444444", DEFAULT: "#999999", DLT: "#c1502e", ELEMENT: "#6b4fa0"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 70, 140, 30, 50
LABEL = 15
STYLE = 'font-family="sans-serif" font-size="12" fill="#222222"'

Points = list[tuple[float, float]]


def draw(figures: Figures) -> str:
    """The plot; empty when no peer has two points."""
    series = {peer: points for peer in TITLES if (points := _points(figures, peer))}
    if not any(len(points) > 1 for points in series.values()):
        return ""
    x, y = _axis([p[0] for s in series.values() for p in s]), _axis([p[1] for s in series.values() for p in s])
    parts = [
        *_grid(x, y),
        *(part for peer, points in series.items() for part in _line(peer, points, x, y)),
        *_labels(series, x, y),
    ]
    title = f'<text x="{LEFT}" y="18" {STYLE}>CPU seconds by rows of the batch, merged into 10M rows</text>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            '<rect width="100%" height="100%" fill="white"/>',
            title,
            *parts,
            "</svg>",
            "",
        ]
    )


def _points(figures: Figures, peer: str) -> Points:
    rows = {s.name: s.batch.rows for s in SCENARIOS}
    return [(rows[name], figures[name, peer].cpu_s) for name in SHOWN if (name, peer) in figures]


def _axis(values: list[float]) -> tuple[int, int]:
    """Powers of ten around the values."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return low, max(high, low + 1)


def _workspace(value: float, axis: tuple[int, int], start: float, end: float) -> float:
    return start + (log10(value) - axis[0]) / (axis[1] - axis[0]) * (end - start)


def _at(point: tuple[float, float], x: tuple[int, int], y: tuple[int, int]) -> tuple[float, float]:
    return _workspace(point[0], x, LEFT, WIDTH - RIGHT), _workspace(point[1], y, HEIGHT - BOTTOM, TOP)


def _grid(x: tuple[int, int], y: tuple[int, int]) -> list[str]:
    parts = []
    for power in range(y[0], y[1] + 1):
        _, at = _at((10.0 ** x[0], 10.0**power), x, y)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" {STYLE}>{10.0**power:g} s</text>')
    for power in range(x[0], x[1] + 1):
        at, _ = _at((10.0**power, 10.0 ** y[0]), x, y)
        parts.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
        label = f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" {STYLE}>{short(10**power)}</text>'
        parts.append(label)
    return parts


def _line(peer: str, points: Points, x: tuple[int, int], y: tuple[int, int]) -> list[str]:
    placed = [_at(point, x, y) for point in points]
    path = "L".join(f"{a:.1f} {b:.1f}" for a, b in placed)
    parts = [f'<path d="M{path}" fill="none" stroke="{COLOURS[peer]}" stroke-width="2"/>']
    parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{COLOURS[peer]}"/>' for a, b in placed]
    return parts


def _labels(series: dict[str, Points], x: tuple[int, int], y: tuple[int, int]) -> Iterator[str]:
    """Each peer's name at the end of its line, no two over one another."""
    taken: dict[float, float] = {}
    ends = {peer: _at(points[-1], x, y) for peer, points in series.items()}
    for peer, (end, height) in sorted(ends.items(), key=lambda item: item[1][1]):
        taken[end] = max(height + 4, taken.get(end, 0.0) + LABEL)
        style = STYLE.replace("#222222", COLOURS[peer])
        yield f'<text x="{end + 8:.1f}" y="{taken[end]:.1f}" {style}>{TITLES[peer]}</text>'
