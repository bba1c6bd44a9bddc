"""Texts of figures, times and health, the same on the page and in the terminal; pure."""

import re
from datetime import datetime

from millrace.status.types import Figure, Health

HEALTH: dict[Health, tuple[str, str]] = {
    "good": ("✓", "good"),
    "working": ("›", "working"),
    "look": ("!", "needs a look"),
    "bad": ("✗", "broken"),
    "unknown": ("?", "unknown"),
}
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
UNITS = (("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12))


def count(value: float | None) -> str:
    """Return a number as 1,234; – when it is unknown."""
    return "–" if value is None else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Return bytes as 12.3 MB; – when they are unknown."""
    if value is None:
        return "–"
    unit, factor = next((u for u in reversed(UNITS) if value >= u[1]), UNITS[0])
    return f"{value / factor:,.0f} {unit}" if factor == 1 else f"{value / factor:,.1f} {unit}"


def span(seconds: float | None) -> str:
    """Return a duration as 0.8 s, 42 s, 12 min, 3.5 h or 2 d; – when it is unknown."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.3g} h" if seconds < 48 * 3600 else f"{seconds / 86400:.3g} d"


def when(at: datetime | None) -> str:
    """Return an instant as 24 Nov, 21:38, in UTC as the page's header states."""
    return "–" if at is None else f"{at:%d %b, %H:%M}"


def figure(value: Figure) -> str:
    """Return a figure's value with its unit; the label has the unit of plain counts."""
    if value.unit == "bytes":
        return size(value.value)
    return span(value.value) if value.unit == "seconds" else count(value.value)


def anchor(kind: str, name: object) -> str:
    """Return the id of a section of the page."""
    return f"{kind}-{UNSAFE.sub('_', str(name))}"


def href(url: str) -> str:
    """Return a URL that is safe in a link; '' for any other."""
    return url if url.startswith(("http://", "https://", "#")) else ""
