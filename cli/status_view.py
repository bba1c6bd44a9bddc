"""The status of the platform in, lines and tables for a terminal out; figures equal those of the status page."""

from collections.abc import Iterator
from typing import Any

from cli import show
from millrace.domain.remedies import Remedy
from millrace.status import formats
from millrace.status.types import Figure, Health, Station, Status, StreamStatus, Trouble

MARKS: dict[Health, str] = {health: mark for health, (mark, _) in formats.HEALTH.items()}
KINDS: dict[Health, str] = {"good": "good", "working": "", "look": "warn", "bad": "bad", "unknown": "soft"}
TROUBLES = 8
COLUMNS = ("", "stream", "newest", "merged", "superseded", "stale", "quarantined", "waits")


def view(status: Status, servers: list[dict[str, Any]]) -> None:
    """Print the whole status."""
    show.line(f"{MARKS[status.health]} {status.headline}", KINDS[status.health])
    show.line("")
    for station in status.stations:
        show.line(_station(station), KINDS[station.health])
    show.line("")
    show.table(COLUMNS, (_stream(stream) for stream in status.streams), _colours(status))
    if status.publications:
        newest = status.publications[0]
        marts = (
            f"{len(status.marts)} mart{'s' * (len(status.marts) != 1)}, {sum(m.rows for m in status.marts):,} rows"
            if status.marts
            else "marts"
        )
        show.line(f"{marts}; published {newest.at:%Y-%m-%d %H:%M} UTC from {newest.batches} batches", "soft")
    for text in _pauses(status):
        show.line(text, "warn")
    _troubles(status)
    for missing in status.unknown:
        show.line(f"? {missing.what} did not answer: {missing.why}", "warn")
    show.line("")
    for server in servers:
        answering = "" if server["answers"] else "does not answer; see `millrace doctor`"
        show.line(
            f"{server['server']:<10} {server['address']:<16} {answering}".rstrip(), "bad" if answering else "soft"
        )
    if status.links.page:
        show.line(f"{'page':<10} {status.links.page}", "soft")


def _station(station: Station) -> str:
    figures = ", ".join(figure(item) for item in station.figures)
    return f"{MARKS[station.health]} {station.title:<18} {figures}{f' – {station.note}' if station.note else ''}"


def figure(item: Figure) -> str:
    """Return a figure with its label: `6,645 rows landed`, `–` when it is unknown."""
    counted = item.unit if item.value is not None and item.unit not in ("seconds", "bytes") else ""
    return " ".join(filter(None, (formats.figure(item), counted, item.label)))


def _stream(stream: StreamStatus) -> Iterator[Any]:
    age, limit, rows = stream.freshness.age_s, stream.freshness.limit_s, stream.balance
    yield MARKS[stream.health]
    yield stream.id
    newest = "never" if age is None else f"{formats.span(age)} ago"
    yield newest if limit is None else f"{newest}, {formats.span(limit)} promised"
    for count in (rows.merged, rows.superseded, rows.stale, rows.quarantined):
        yield f"{count:,}"
    yield formats.count(stream.pending.rows if stream.pending else None)


def _pauses(status: Status) -> list[str]:
    """Return a line for each pause, with the command that ends it."""
    sources = {source.source: source.paused for source in status.sources if source.paused}
    streams = {s.id: s.paused for s in status.streams if s.paused and s.source not in sources}
    return [f"‖ {text}; `{Remedy.RESUME.filled(name=name)}`" for name, text in (sources | streams).items()]


def _colours(status: Status) -> dict[str, str]:
    return {MARKS[stream.health]: KINDS[stream.health] for stream in status.streams}


def _troubles(status: Status) -> None:
    open_troubles = [trouble for trouble in status.troubles if not trouble.over]
    for trouble in open_troubles[:TROUBLES]:
        show.line("")
        show.line(f"✗ {trouble.at:%Y-%m-%d %H:%M} {trouble.sentence}", "bad")
        for text in _ways_out(trouble):
            show.line(f"  {text}")
    if len(open_troubles) > TROUBLES:
        show.line(f"and {len(open_troubles) - TROUBLES} more; `millrace status --json` has all", "soft")


def _ways_out(trouble: Trouble) -> Iterator[str]:
    if trouble.command:
        yield show.command(trouble.command)
    for link in (trouble.run.url if trouble.run else "", trouble.runbook):
        if link:
            yield link
