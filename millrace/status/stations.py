"""The way as stations with live figures, and the sentence above them; pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from millrace.domain.quality import QUARANTINE, STOP, WARN
from millrace.status.prefect_runs import PrefectFacts
from millrace.status.types import (
    Figure,
    Health,
    Links,
    Mart,
    Publication,
    Quality,
    SourceStatus,
    Station,
    StreamStatus,
    Trouble,
    Unknown,
)

ORDER: tuple[Health, ...] = ("bad", "look", "unknown", "working", "good")


def worst(healths: Iterable[Health]) -> Health:
    """The one that wants a person most; of none: unknown."""
    found = set(healths)
    return next((health for health in ORDER if health in found), "unknown")


def source_station(sources: Sequence[SourceStatus], now: datetime, links: Links) -> Station:
    """Airbyte's newest job of each source."""
    newest = [source.syncs[0] for source in sources if source.syncs]
    asked = all(source.syncs is not None for source in sources)
    rows = sum(s.rows or 0 for s in newest) if asked else None
    ages = [(now - sync.created_at).total_seconds() - (sync.seconds or 0) for sync in newest]
    note = next((s.trouble.sentence for s in sources if s.trouble and not s.trouble.over), "")
    return Station(
        key="source",
        title="Airbyte",
        health=worst(s.health for s in sources),
        url=links.airbyte,
        note=note,
        figures=(
            Figure(label="read by the last sync", value=rows, unit="rows"),
            Figure(label="ago", value=max(0.0, min(ages)) if ages else None, unit="seconds"),
        ),
    )


def lake_station(streams: Sequence[StreamStatus]) -> Station:
    """What landed within the window: in merged batches, and waiting."""
    pending = [s.pending for s in streams]
    asked = all(p is not None for p in pending) and all(s.health != "unknown" for s in streams)
    landings, waits = (sum(getattr(p, term) for p in pending if p) for term in ("landings", "rows"))
    rows = sum(s.balance.rows_in for s in streams) + waits
    health: Health = "unknown" if not asked else "working" if landings else "good"
    note = f"{landings} {'landing waits' if landings == 1 else 'landings wait'} to be merged." if landings else ""
    return Station(
        key="lake",
        title="Lake",
        health=health,
        note=note,
        figures=(
            Figure(label="landed", value=rows if asked else None, unit="rows"),
            Figure(label="waiting", value=waits if asked else None, unit="rows"),
        ),
    )


def events_station(prefect: PrefectFacts | None, links: Links) -> Station:
    """Runs that events started, and what events did not do."""
    lost, dead = (prefect.made_up_for, prefect.dead_letters) if prefect else (None, None)
    note = f"The newest reconcile made up for {lost} that no event had started." if lost else ""
    note = f"{dead} messages could not be delivered." if dead else note
    return Station(
        key="events",
        title="Events",
        health="unknown" if prefect is None else "look" if lost or dead else "good",
        note=note,
        url=f"{links.prefect}/events" if links.prefect else "",
        figures=(
            Figure(label="runs by event", value=sum(r.by_event for r in prefect.runs) if prefect else None),
            Figure(label="dead letters", value=dead),
        ),
    )


def merge_station(streams: Sequence[StreamStatus], links: Links) -> Station:
    """Rows merged within the window, and rows in quarantine."""
    known = [s for s in streams if s.health != "unknown"]
    refused = [sum(o.rows for o in s.quarantine) for s in streams if s.quarantine is not None]
    note = next((s.trouble.sentence for s in streams if s.trouble and not s.trouble.over), "")
    late = [s.id for s in streams if s.freshness.kept is False]
    return Station(
        key="merge",
        title="Warehouse",
        health=worst(s.health for s in streams),
        url=f"{links.prefect}/runs" if links.prefect else "",
        note=note or (f"No new data of {', '.join(late)} within what is promised." if late else ""),
        figures=(
            Figure(label="merged", value=sum(s.balance.merged for s in known) if known else None, unit="rows"),
            Figure(label="in quarantine", value=sum(refused) if len(refused) == len(streams) else None, unit="rows"),
        ),
    )


def gate_station(quality: Quality | None, trouble: Trouble | None, links: Links) -> Station:
    """The newest result of each expectation."""
    results = quality.results if quality else ()
    broken = {s: [r for r in results if not r.success and r.severity == s] for s in (STOP, QUARANTINE, WARN)}
    open_trouble = trouble if trouble and not trouble.over else None
    health: Health = "unknown" if quality is None else "bad" if broken[STOP] else "good"
    if health == "good" and (broken[QUARANTINE] or broken[WARN]):
        health = "look"
    note = open_trouble.sentence if open_trouble else next((f"{r}." for b in broken.values() for r in b), "")
    return Station(
        key="gate",
        title="dbt and the gate",
        health="bad" if open_trouble else health,
        note=note,
        url=links.data_docs,
        figures=(
            Figure(label="expectations hold", value=sum(r.success for r in results) if quality else None),
            Figure(label="do not", value=sum(not r.success for r in results) if quality else None),
        ),
    )


def marts_station(
    marts: Sequence[Mart] | None, publications: Sequence[Publication], waits: int, now: datetime, links: Links
) -> Station:
    """Published rows, how old they are, and merges that they lack."""
    age = max(0.0, (now - publications[0].at).total_seconds()) if publications else None
    health: Health = "unknown" if marts is None else "working" if waits else "good"
    named = "rows" if marts is None else "in 1 mart" if len(marts) == 1 else f"in {len(marts)} marts"
    note = f"{waits} merged {'batch is' if waits == 1 else 'batches are'} not in the marts yet." if waits else ""
    return Station(
        key="marts",
        title="Marts",
        health=health,
        note=note,
        url=links.dbt_docs,
        figures=(
            Figure(label=named, unit="rows", value=sum(m.rows for m in marts) if marts is not None else None),
            Figure(label="ago", value=age, unit="seconds"),
        ),
    )


def headline(
    stations: Sequence[Station], streams: Sequence[StreamStatus], others: Sequence[str], unknown: Sequence[Unknown]
) -> str:
    """One sentence: whether somebody must look, and at what; `others` is work of no station that failed."""
    bad = [s.id for s in streams if s.health == "bad"] + [s.title for s in stations if s.health == "bad"]
    look = [s.id for s in streams if s.health == "look"] + [s.title for s in stations if s.health == "look"]
    look += others
    if bad:
        return f"Something is broken: {', '.join(dict.fromkeys(bad))}"
    if look:
        return f"Somebody should look at {', '.join(dict.fromkeys(look))}"
    if away := dict.fromkeys(u.what for u in unknown if u.what != "cost"):
        return f"All that could be asked is well; not asked: {', '.join(away)}"
    if any(s.health == "working" for s in stations):
        return "All is well, and work is under way"
    return "All is well"
