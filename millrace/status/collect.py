"""Asks everything once and gives one value: ledger, lake, quality, quarantine, Airbyte and Prefect.

Whoever is away is shown as unknown, with the reason.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from millrace.airbyte.client import AirbyteClient
from millrace.contracts.source import SourceContract
from millrace.contracts.stream import StreamContract
from millrace.domain.ledger import LedgerEntry
from millrace.lake.store import Lake
from millrace.status import stations as stationing
from millrace.status.asking import Asker
from millrace.status.lineage import MartLineage, mart_lineage
from millrace.status.prefect_runs import PrefectFacts
from millrace.status.steps import steps
from millrace.status.streams import Facts, by_stream, stream_status, waiting
from millrace.status.syncs import RUNNING, ask_airbyte, recall, runs_of_jobs
from millrace.status.troubles import link, newest_troubles, run_url
from millrace.status.types import (
    GateRun,
    Health,
    Links,
    Mart,
    Pending,
    Publication,
    Quality,
    RunLink,
    SourceStatus,
    Status,
    StreamStatus,
    SyncStatus,
    Trouble,
)
from millrace.warehouse.port import Warehouse

KINDS = ("merged", "published")
DAYS = 7.0
INGESTS = 10
OF_STATIONS = ("ingest ", "merge ", "model")  # work whose failure a station shows
NEWS, STILL_NEWS = timedelta(seconds=10), timedelta(hours=1)


@dataclass(frozen=True)
class Places:
    """Whom to ask; each function may raise. `prefect` is asked for what happened from an instant to another."""

    warehouse: Warehouse
    lake: Lake
    sources: Mapping[str, SourceContract]
    airbyte: Callable[[], AbstractContextManager[AirbyteClient]]
    prefect: Callable[[datetime, datetime], PrefectFacts]
    dbt_project: Path
    links: Links

    @property
    def streams(self) -> list[StreamContract]:
        """Every stream of every source."""
        return [stream for source in self.sources.values() for stream in source.streams.values()]


def collect(places: Places, now: datetime, days: float = DAYS, own: str = "") -> Status:
    """All that is known at `now` of the last `days`, or of as many as the slowest stream's freshness spans.

    `own` is the id of the run that asks: that it is at work is no news.
    """
    promised = [stream.freshness_s or 0 for stream in places.streams]
    since = now - max(timedelta(days=days), timedelta(seconds=max(promised, default=0)))
    ask = Asker()
    prefect = ask("prefect", lambda: places.prefect(since, now))
    known = {run.id: run for run in prefect.runs} if prefect else {}
    ui, marts = places.links.prefect, ask("lineage", lambda: mart_lineage(places.dbt_project)) or {}

    def run(run_id: str) -> RunLink:
        return link(known[run_id], ui) if run_id in known else RunLink(id=run_id, url=run_url(ui, run_id))

    troubles = newest_troubles(prefect.runs, ui) if prefect else {}
    facts, ledger, quality = _ask_warehouse(places, ask, Facts(now=now, since=since, merged=None, run=run))
    facts = replace(
        facts,
        troubles=troubles,
        marts=marts,
        pending=_pending(places, ask, facts),
        billed=ask("cost", lambda: places.warehouse.billed_bytes(since)),
        working=frozenset(r.stream for r in known.values() if r.flow == "merge" and r.living and r.id != own),
        seconds={r.id: r.seconds for r in known.values() if r.flow == "merge" and r.ended},
    )
    sources = tuple(_sources(places, ask, prefect, troubles, now))
    streams = tuple(stream_status(contract, facts) for contract in places.streams)
    return _status(places, ask, facts, sources, streams, _publications(ledger, run), quality, prefect)


def _ask_warehouse(places: Places, ask: Asker, facts: Facts) -> tuple[Facts, list[LedgerEntry], Quality | None]:
    """Ledger, syncs of batches, quarantine and quality, over one connection."""
    warehouse = places.warehouse

    def together() -> tuple[Facts, list[LedgerEntry], Quality | None]:
        with warehouse.session("show the status"):
            ledger = ask("ledger", lambda: warehouse.ledger(facts.since, KINDS))
            found = replace(
                facts,
                merged=None if ledger is None else by_stream(ledger),
                published={e.batch_id: e for e in ledger or () if e.kind == "published"},
                syncs=ask("ledger", lambda: warehouse.merged_syncs(facts.since)),
                quarantine=ask("quarantine", warehouse.quarantine),
            )
            quality = ask("quality", lambda: _quality(warehouse, facts))
        return found, ledger or [], quality

    return ask("ledger", together) or (facts, [], None)


def _quality(warehouse: Warehouse, facts: Facts) -> Quality:
    return Quality(
        runs=tuple(GateRun(found=found, run=facts.run(found.run_id)) for found in warehouse.quality_runs(facts.since)),
        results=tuple(fact.result for fact in warehouse.newest_quality()),
    )


def _pending(places: Places, ask: Asker, facts: Facts) -> dict[str, Pending | None]:
    """What waits of each stream; not known when the ledger's objects are not, or the lake is away."""
    merged, syncs = facts.merged, facts.syncs
    if merged is None or syncs is None:
        return {}
    found: dict[str, Pending | None] = {}
    for contract in places.streams:
        jobs = {sync.job_id for entry in merged.get(contract.id, ()) for sync in syncs.get(entry.batch_id, ())}
        found[contract.id] = ask("lake", partial(waiting, places.lake, contract, jobs, facts.since))
    return found


def _sources(
    places: Places, ask: Asker, prefect: PrefectFacts | None, troubles: Mapping[str, Trouble], now: datetime
) -> Iterable[SourceStatus]:
    ingests = [link(run, places.links.prefect) for run in (prefect.of("ingest") if prefect else [])][:INGESTS]
    asked = ask("lake", lambda: runs_of_jobs(places.lake, ingests)) or {}

    def jobs() -> dict[str, tuple[SyncStatus, ...]]:
        with places.airbyte() as client:
            return {source: ask_airbyte(client, source) for source in places.sources}

    told, as_of = _told(ask, jobs, places.lake, now)
    for contract in places.sources.values():
        syncs = told.get(contract.source)
        trouble = troubles.get(f"ingest {contract.source}")
        if syncs is not None:
            syncs = tuple(s.model_copy(update={"run": asked.get((s.source, s.job_id), s.run)}) for s in syncs)
        yield SourceStatus(
            source=contract.source,
            description=contract.description,
            health=_source_health(syncs, trouble),
            syncs=syncs,
            as_of=as_of,
            trouble=trouble,
        )


def _told(
    ask: Asker, jobs: Callable[[], dict[str, tuple[SyncStatus, ...]]], lake: Lake, now: datetime
) -> tuple[Mapping[str, tuple[SyncStatus, ...]], datetime | None]:
    """Syncs by source, and when Airbyte told them if it was not now.

    It may be away, or not for this run to ask; and of runs that end together one asks for all.
    """
    away, known = Asker(), ask("lake", lambda: recall(lake))
    if known and timedelta() <= now - known.at < NEWS:
        return known.syncs, known.at
    if (told := away("airbyte", jobs)) is not None:
        return told, None
    if known is None or now - known.at > STILL_NEWS:
        ask.unknown += away.unknown
    return (known.syncs, known.at) if known else ({}, None)


def _source_health(syncs: tuple[SyncStatus, ...] | None, trouble: Trouble | None) -> Health:
    if trouble and not trouble.over:
        return "bad"
    if syncs is None:
        return "unknown"
    newest = syncs[0].status if syncs else ""
    return "bad" if newest == "failed" else "working" if newest in (RUNNING, "pending") else "good"


def _publications(ledger: list[LedgerEntry], run: Callable[[str], RunLink]) -> tuple[Publication, ...]:
    """Newest first."""
    batches: dict[str, list[LedgerEntry]] = {}
    for entry in ledger:
        if entry.kind == "published":
            batches.setdefault(entry.detail, []).append(entry)
    made = [Publication(at=e[0].at, candidate=c, run=run(e[0].run_id), batches=len(e)) for c, e in batches.items()]
    return tuple(sorted(made, key=lambda p: p.at, reverse=True))


def _status(
    places: Places,
    ask: Asker,
    facts: Facts,
    sources: tuple[SourceStatus, ...],
    streams: tuple[StreamStatus, ...],
    publications: tuple[Publication, ...],
    quality: Quality | None,
    prefect: PrefectFacts | None,
) -> Status:
    rows, links = ask("marts", places.warehouse.marts), places.links
    none = MartLineage("", ())
    marts = (
        None
        if rows is None
        else tuple(
            Mart(
                name=name,
                rows=count,
                description=facts.marts.get(name, none).description,
                streams=facts.marts.get(name, none).streams,
            )
            for name, count in sorted(rows.items())
        )
    )
    waits = sum(batch.published_at is None for stream in streams for batch in stream.batches)
    stations = (
        stationing.source_station(sources, facts.now, links),
        stationing.lake_station(streams),
        stationing.events_station(prefect, links),
        stationing.merge_station(streams, links),
        stationing.gate_station(quality, facts.troubles.get("model"), links),
        stationing.marts_station(marts, publications, waits, facts.now, links),
    )
    troubles = sorted(facts.troubles.values(), key=lambda t: (t.over, -t.at.timestamp()))
    healths: list[Health] = [s.health for s in stations]
    others = [name for name, t in facts.troubles.items() if not t.over and not name.startswith(OF_STATIONS)]
    return Status(
        at=facts.now,
        since=facts.since,
        health=stationing.worst(healths + ["look"] * bool(others)),
        headline=stationing.headline(stations, streams, others, ask.unknown),
        stations=stations,
        sources=sources,
        streams=streams,
        marts=marts,
        publications=publications,
        quality=quality,
        steps=None if prefect is None else steps(prefect),
        troubles=tuple(troubles),
        unknown=tuple(dict.fromkeys(ask.unknown)),
        links=links,
    )
