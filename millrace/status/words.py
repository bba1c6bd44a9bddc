"""Figures as people read them; pure. The page and the terminal say them the same way."""

import re
from datetime import datetime

from millrace.status.types import Figure, Health

HEALTH: dict[Health, tuple[str, str]] = {
    "good": ("✓", "well"),
    "working": ("›", "at work"),
    "look": ("!", "look at it"),
    "bad": ("✗", "broken"),
    "unknown": ("?", "not known"),
}
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
UNITS = (("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12))


def count(value: float | None) -> str:
    """1,234; – when it is not known."""
    return "–" if value is None else f"{value:,.0f}"


def size(value: float | None) -> str:
    """12.3 MB; – when it is not known."""
    if value is None:
        return "–"
    unit, factor = next((u for u in reversed(UNITS) if value >= u[1]), UNITS[0])
    return f"{value / factor:,.0f} {unit}" if factor == 1 else f"{value / factor:,.1f} {unit}"


def span(seconds: float | None) -> str:
    """A duration: 0.8 s, 42 s, 12 min, 3.5 h, 2 d; – when it is not known."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.3g} h" if seconds < 48 * 3600 else f"{seconds / 86400:.3g} d"


def when(at: datetime | None) -> str:
    """24 Nov, 21:38 (UTC is said once, at the top)."""
    return "–" if at is None else f"{at:%d %b, %H:%M}"


def figure(one: Figure) -> str:
    """A figure in its unit; what is counted in words stands in its label."""
    if one.unit == "bytes":
        return size(one.value)
    return span(one.value) if one.unit == "seconds" else count(one.value)


def anchor(kind: str, name: object) -> str:
    """Name of a part of the page."""
    return f"{kind}-{UNSAFE.sub('_', str(name))}"


def href(url: str) -> str:
    """An address that a link may have: '' for one that is no page."""
    return url if url.startswith(("http://", "https://", "#")) else ""
