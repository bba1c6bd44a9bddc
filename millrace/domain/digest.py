"""The facts of one day in, the daily message for Slack out."""

from datetime import date

from millrace.domain.landing import Count
from millrace.domain.ledger import LedgerEntry
from millrace.domain.types import Frozen

MOST = 12


class WorkFailures(Frozen):
    """The number of failures of one piece of work (a run's name) on a day; `failing` when its last run failed."""

    name: str
    failed: Count
    failing: bool


class Day(Frozen):
    """The facts of one day; `silent` are streams without new data although their contracts promise some."""

    day: date
    merged: tuple[LedgerEntry, ...]
    publications: Count
    rejections: Count
    completed: Count
    failures: tuple[WorkFailures, ...]
    recovered_by_reconcile: Count
    dead_letters: dict[str, Count]
    silent: tuple[str, ...]


def subject(day: Day) -> str:
    """Return the first line of the message."""
    return f":bar_chart: Millrace on {day.day:%A, %d %B %Y}: {verdict(day)}"


def verdict(day: Day) -> str:
    """Return the number of topics that need attention, in words."""
    looks = [bool(day.silent), bool(day.dead_letters), any(work.failing for work in day.failures), bool(day.rejections)]
    looks += [any(e.quarantined for e in day.merged), bool(day.recovered_by_reconcile)]
    if not any(looks) and not day.merged and not day.completed:
        return "nothing was done"
    if not sum(looks):
        return "all is well"
    return "one thing to look at" if sum(looks) == 1 else f"{sum(looks)} things to look at"


def body(day: Day, ui: str, runbook: str) -> str:
    """Return the other lines of the message, in Slack's mrkdwn."""
    lines = [_merged_line(day), *_stream_lines(day), _quarantined_line(day), _published_line(day), _runs_line(day)]
    if day.silent:
        lines.append(f":warning: *No new data* of {_list(day.silent)}")
    if day.recovered_by_reconcile:
        lines.append(f":warning: *Reconcile* started work for {_count(day.recovered_by_reconcile, 'lost event')}")
    if day.dead_letters:
        topics = [f"{topic} ({count})" for topic, count in sorted(day.dead_letters.items())]
        lines.append(f":warning: *Dead letters* on {_list(topics)}")
    return "\n".join([*lines, f"<{ui}/runs|Open Prefect>. Runbook: {runbook}"])


def _merged_line(day: Day) -> str:
    if not day.merged:
        return "*Merged* nothing"
    rows, streams = sum(e.merged for e in day.merged), {(e.source, e.stream) for e in day.merged}
    return f"*Merged* {_count(rows, 'row')} in {_count(len(day.merged), 'batch')} of {_count(len(streams), 'stream')}"


def _stream_lines(day: Day) -> list[str]:
    rows: dict[str, int] = {}
    for entry in day.merged:
        name = f"{entry.source}.{entry.stream}"
        rows[name] = rows.get(name, 0) + entry.merged
    most = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"• {name} {count:,}" for name, count in most[:MOST]]
    return [*lines, f"• and {len(most) - MOST} more"] if len(most) > MOST else lines


def _quarantined_line(day: Day) -> str:
    quarantined: dict[str, int] = {}
    for entry in day.merged:
        if entry.quarantined:
            name = f"{entry.source}.{entry.stream}"
            quarantined[name] = quarantined.get(name, 0) + entry.quarantined
    if not quarantined:
        return "*Quarantined* nothing"
    streams = [f"{name} {count:,}" for name, count in sorted(quarantined.items())]
    return f":warning: *Quarantined* {_count(sum(quarantined.values()), 'row')}: {_list(streams)}"


def _published_line(day: Day) -> str:
    line = f"*Published* {_count(day.publications, 'time')}"
    if not day.rejections:
        return line
    return f":warning: {line}; the quality gate rejected a candidate {_count(day.rejections, 'time')}"


def _runs_line(day: Day) -> str:
    line = f"*Runs* {day.completed:,} completed"
    if not day.failures:
        return f"{line}, none failed"
    failures = [f"{w.name} {w.failed} x ({'still failing' if w.failing else 'recovered'})" for w in day.failures]
    mark = ":red_circle: " if any(work.failing for work in day.failures) else ""
    return f"{mark}{line}, {sum(work.failed for work in day.failures)} failed: {_list(failures)}"


def _list(names: tuple[str, ...] | list[str]) -> str:
    rest = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(list(names)[:MOST]) + rest


def _count(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('ch') else 's'}"
