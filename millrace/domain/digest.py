"""A day of the platform in, the message that tells of it out; pure."""

from datetime import date

from millrace.domain.landing import Count
from millrace.domain.ledger import LedgerEntry
from millrace.domain.types import Frozen

MOST = 12


class RunsOfDay(Frozen):
    """How often one piece of work (a run's name) failed on a day, and whether it did the last time."""

    name: str
    failed: Count
    failing: bool


class Day(Frozen):
    """What is known of a day; `silent` are streams that had no new data though their contracts promise some."""

    day: date
    merged: tuple[LedgerEntry, ...]
    publications: Count
    refusals: Count
    completed: Count
    bad: tuple[RunsOfDay, ...]
    made_up_for: Count
    dead_letters: dict[str, Count]
    silent: tuple[str, ...]


def subject(day: Day) -> str:
    """The first line."""
    return f":bar_chart: Millrace on {day.day:%A, %d %B %Y}: {verdict(day)}"


def verdict(day: Day) -> str:
    """Whether somebody must look."""
    looks = [bool(day.silent), bool(day.dead_letters), any(b.failing for b in day.bad), bool(day.refusals)]
    looks += [any(e.quarantined for e in day.merged), bool(day.made_up_for)]
    if not any(looks) and not day.merged and not day.completed:
        return "nothing was done"
    if not sum(looks):
        return "all is well"
    return "one thing to look at" if sum(looks) == 1 else f"{sum(looks)} things to look at"


def body(day: Day, ui: str, runbook: str) -> str:
    """The lines below it, in Slack's mrkdwn."""
    lines = [_merged(day), *_streams(day), _quarantined(day), _published(day), _runs(day)]
    if day.silent:
        lines.append(f":warning: *No new data* of {_listed(day.silent)}")
    if day.made_up_for:
        lines.append(f":warning: *Reconcile* made up for {_many(day.made_up_for, 'thing')} that no event had started")
    if day.dead_letters:
        told = [f"{topic} ({count})" for topic, count in sorted(day.dead_letters.items())]
        lines.append(f":warning: *Dead letters* on {_listed(told)}")
    return "\n".join([*lines, f"<{ui}/runs|Open Prefect>. Runbook: {runbook}"])


def _merged(day: Day) -> str:
    if not day.merged:
        return "*Merged* nothing"
    rows, streams = sum(e.merged for e in day.merged), {(e.source, e.stream) for e in day.merged}
    return f"*Merged* {_many(rows, 'row')} in {_many(len(day.merged), 'batch')} of {_many(len(streams), 'stream')}"


def _streams(day: Day) -> list[str]:
    rows: dict[str, int] = {}
    for entry in day.merged:
        name = f"{entry.source}.{entry.stream}"
        rows[name] = rows.get(name, 0) + entry.merged
    most = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"• {name} {count:,}" for name, count in most[:MOST]]
    return [*lines, f"• and {len(most) - MOST} more"] if len(most) > MOST else lines


def _quarantined(day: Day) -> str:
    refused: dict[str, int] = {}
    for entry in day.merged:
        if entry.quarantined:
            name = f"{entry.source}.{entry.stream}"
            refused[name] = refused.get(name, 0) + entry.quarantined
    if not refused:
        return "*Quarantined* nothing"
    told = [f"{name} {count:,}" for name, count in sorted(refused.items())]
    return f":warning: *Quarantined* {_many(sum(refused.values()), 'row')}: {_listed(told)}"


def _published(day: Day) -> str:
    done = f"*Published* {_many(day.publications, 'time')}"
    return f":warning: {done}; the quality gate refused {_many(day.refusals, 'time')}" if day.refusals else done


def _runs(day: Day) -> str:
    done = f"*Runs* {day.completed:,} completed"
    if not day.bad:
        return f"{done}, none failed"
    told = [f"{b.name} {b.failed} x ({'still failing' if b.failing else 'well again'})" for b in day.bad]
    mark = ":red_circle: " if any(b.failing for b in day.bad) else ""
    return f"{mark}{done}, {sum(b.failed for b in day.bad)} failed: {_listed(told)}"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(list(names)[:MOST]) + more


def _many(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what}{'es' if what.endswith('ch') else 's'}"
