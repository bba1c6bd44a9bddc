"""Stations of the data's way with their figures, and the headline of the status; pure."""

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
    """Return the most urgent health, or `unknown` of none."""
    present = set(healths)
    return next((health for health in ORDER if health in present), "unknown")


def source_station(sources: Sequence[SourceStatus], now: datetime, links: Links) -> Station:
    """Return the station of Airbyte, by the newest job of each source."""
    newest = [source.syncs[0] for source in sources if source.syncs]
    complete = all(source.syncs is not None for source in sources)
    rows = sum(s.rows or 0 for s in newest) if complete else None
    ages = [(now - sync.created_at).total_seconds() - (sync.seconds or 0) for sync in newest]
    note = next((s.trouble.sentence for s in sources if s.trouble and not s.trouble.over), "")
    return Station(
        key="source",
        title="Airbyte",
        health=worst(s.health for s in sources),
        url=links.airbyte,
        note=note,
        figures=(
            Figure(
                label="read by the last sync" if len(sources) < 2 else "read by the last syncs", value=rows, unit="rows"
            ),
            Figure(label="ago", value=max(0.0, min(ages)) if ages else None, unit="seconds"),
        ),
    )


def lake_station(streams: Sequence[StreamStatus]) -> Station:
    """Return the station of the lake, by the landings within the window: merged and pending ones."""
    pending = [s.pending for s in streams]
    complete = all(p is not None for p in pending) and all(s.health != "unknown" for s in streams)
    landings, waiting = (sum(getattr(p, term) for p in pending if p) for term in ("landings", "rows"))
    rows = sum(s.balance.rows_in for s in streams) + waiting
    health: Health = "unknown" if not complete else "working" if landings else "good"
    note = f"{landings} {'landing waits' if landings == 1 else 'landings wait'} to be merged." if landings else ""
    return Station(
        key="lake",
        title="Lake",
        health=health,
        note=note,
        figures=(
            Figure(label="landed", value=rows if complete else None, unit="rows"),
            Figure(label="waiting", value=waiting if complete else None, unit="rows"),
        ),
    )


def events_station(prefect: PrefectFacts | None, links: Links) -> Station:
    """Return the station of the event bus, by the runs that events started and the events that were lost."""
    lost, dead = (prefect.recovered_by_reconcile, prefect.dead_letters) if prefect else (None, None)
    note = f"The newest reconcile run found {lost} pieces of work that no event had started." if lost else ""
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
    """Return the station of the warehouse, by the rows merged within the window and the quarantined rows."""
    readable = [s for s in streams if s.health != "unknown"]
    quarantined = [sum(o.rows for o in s.quarantine) for s in streams if s.quarantine is not None]
    rows_in_quarantine = sum(quarantined) if len(quarantined) == len(streams) else None
    note = next((s.trouble.sentence for s in streams if s.trouble and not s.trouble.over), "")
    late = [s.id for s in streams if s.freshness.kept is False]
    return Station(
        key="merge",
        title="Warehouse",
        health=worst(s.health for s in streams),
        url=f"{links.prefect}/runs" if links.prefect else "",
        note=note or (f"No new data of {', '.join(late)} within the contract's limit." if late else ""),
        figures=(
            Figure(label="merged", value=sum(s.balance.merged for s in readable) if readable else None, unit="rows"),
            Figure(label="in quarantine", value=rows_in_quarantine, unit="rows"),
        ),
    )


def gate_station(quality: Quality | None, trouble: Trouble | None, links: Links) -> Station:
    """Return the station of dbt and the gate, by the newest result of each expectation."""
    results = quality.results if quality else ()
    failed = sorted((r for r in results if not r.success), key=lambda r: not r.is_unchecked)  # an error hides the rest
    broken = {s: [r for r in failed if r.severity == s] for s in (STOP, QUARANTINE, WARN)}
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
    marts: Sequence[Mart] | None, publications: Sequence[Publication], unpublished: int, now: datetime, links: Links
) -> Station:
    """Return the station of the marts, by their rows and age and the number of `unpublished` batches."""
    age = max(0.0, (now - publications[0].at).total_seconds()) if publications else None
    health: Health = "unknown" if marts is None else "working" if unpublished else "good"
    label = "rows" if marts is None else "in 1 mart" if len(marts) == 1 else f"in {len(marts)} marts"
    batches = "batch is" if unpublished == 1 else "batches are"
    note = f"{unpublished} merged {batches} not in the marts yet." if unpublished else ""
    return Station(
        key="marts",
        title="Marts",
        health=health,
        note=note,
        url=links.dbt_docs,
        figures=(
            Figure(label=label, unit="rows", value=sum(m.rows for m in marts) if marts is not None else None),
            Figure(label="ago", value=age, unit="seconds"),
        ),
    )


def headline(
    stations: Sequence[Station], streams: Sequence[StreamStatus], others: Sequence[str], unknown: Sequence[Unknown]
) -> str:
    """Return the status in one sentence, with the streams and stations to look at; `others` is other failed work."""
    bad = [s.id for s in streams if s.health == "bad"] + [s.title for s in stations if s.health == "bad"]
    look = [s.id for s in streams if s.health == "look"] + [s.title for s in stations if s.health == "look"]
    look += others
    if bad:
        return f"Something is broken: {', '.join(dict.fromkeys(bad))}"
    if look:
        return f"Somebody should look at {', '.join(dict.fromkeys(look))}"
    if unavailable := dict.fromkeys(u.what for u in unknown if u.what != "cost"):
        return f"All available services are well; unavailable: {', '.join(unavailable)}"
    if any(s.health == "working" for s in stations):
        return "All is well, and data is being processed"
    return "All is well"
