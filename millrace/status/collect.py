"""Collects the status: ledger, lake, quality, quarantine, Airbyte and Prefect, each read once, in; one value out.

A service that is unavailable is unknown in the status, with the reason.
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
from millrace.lake.pauses import Pauses, read_pauses
from millrace.lake.store import Lake
from millrace.status import stations as stationing
from millrace.status.charts import chart_troubles
from millrace.status.lineage import MartLineage, mart_lineage
from millrace.status.paused import mark_paused, silence_paused
from millrace.status.prefect_runs import PrefectFacts
from millrace.status.steps import steps
from millrace.status.streams import Facts, by_stream, merged_again, stream_status, waiting
from millrace.status.syncs import RUNNING, read_syncs, recall, runs_of_jobs
from millrace.status.tolerant_reader import TolerantReader
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

KINDS = ("merged", "published", "redriven")
DAYS = 7.0
INGESTS = 10
STATION_WORK = ("ingest ", "merge ", "model")  # prefixes of work whose failure a station shows
FRESH, USABLE = timedelta(seconds=10), timedelta(hours=1)  # ages of a snapshot of Airbyte's jobs


@dataclass(frozen=True)
class Clients:
    """Clients of the services; each function may raise. `prefect` takes the begin and the end of a window."""

    warehouse: Warehouse
    lake: Lake
    sources: Mapping[str, SourceContract]
    airbyte: Callable[[], AbstractContextManager[AirbyteClient]]
    prefect: Callable[[datetime, datetime], PrefectFacts]
    dbt_project: Path
    links: Links

    @property
    def streams(self) -> list[StreamContract]:
        """Return every stream of every source."""
        return [stream for source in self.sources.values() for stream in source.streams.values()]


def collect(clients: Clients, now: datetime, days: float = DAYS, own_run: str = "") -> Status:
    """Return the status at `now` of the last `days`, or of the longest freshness limit if that is longer.

    `own_run` is the id of the calling run, which does not count as active.
    """
    promised = [stream.freshness_s or 0 for stream in clients.streams]
    since = now - max(timedelta(days=days), timedelta(seconds=max(promised, default=0)))
    read = TolerantReader()
    prefect = read("prefect", lambda: clients.prefect(since, now))
    runs = {run.id: run for run in prefect.runs} if prefect else {}
    ui, marts = clients.links.prefect, read("lineage", lambda: mart_lineage(clients.dbt_project)) or {}

    def run(run_id: str) -> RunLink:
        return link(runs[run_id], ui) if run_id in runs else RunLink(id=run_id, url=run_url(ui, run_id))

    pauses = read("lake", lambda: read_pauses(clients.lake)) or Pauses()
    troubles = silence_paused(newest_troubles(prefect.runs, ui) if prefect else {}, clients.streams, pauses)
    troubles |= read("lake", lambda: chart_troubles(clients.lake)) or {}
    facts, ledger, quality = _read_warehouse(clients, read, Facts(now=now, since=since, merged=None, run=run))
    facts = replace(
        facts,
        troubles=troubles,
        pauses=pauses,
        marts=marts,
        pending=_pending(clients, read, facts),
        billed=read("cost", lambda: clients.warehouse.billed_bytes(since)),
        working=frozenset(r.stream for r in runs.values() if r.flow == "merge" and r.active and r.id != own_run),
        seconds={r.id: r.seconds for r in runs.values() if r.flow == "merge" and r.ended},
    )
    sources = tuple(mark_paused(s, pauses) for s in _sources(clients, read, prefect, troubles, now))
    streams = tuple(stream_status(contract, facts) for contract in clients.streams)
    return _status(clients, read, facts, sources, streams, _publications(ledger, run), quality, prefect)


def _read_warehouse(
    clients: Clients, read: TolerantReader, facts: Facts
) -> tuple[Facts, list[LedgerEntry], Quality | None]:
    """Read ledger, syncs of batches, quarantine and quality over one connection."""
    warehouse = clients.warehouse

    def read_all() -> tuple[Facts, list[LedgerEntry], Quality | None]:
        with warehouse.session("show the status"):
            ledger = read("ledger", lambda: warehouse.ledger(facts.since, KINDS))
            extended = replace(
                facts,
                merged=None if ledger is None else by_stream(ledger),
                merged_again=merged_again(ledger or ()),
                published={e.batch_id: e for e in reversed(ledger or []) if e.kind == "published"},
                syncs=read("ledger", lambda: warehouse.merged_syncs(facts.since)),
                quarantine=read("quarantine", warehouse.quarantine),
            )
            quality = read("quality", lambda: _quality(warehouse, facts))
        return extended, ledger or [], quality

    return read("ledger", read_all) or (facts, [], None)


def _quality(warehouse: Warehouse, facts: Facts) -> Quality:
    return Quality(
        runs=tuple(GateRun(found=run, run=facts.run(run.run_id)) for run in warehouse.quality_runs(facts.since)),
        results=tuple(fact.result for fact in warehouse.newest_quality()),
    )


def _pending(clients: Clients, read: TolerantReader, facts: Facts) -> dict[str, Pending | None]:
    """Return each stream's pending landings; unknown when the ledger's objects or the lake are unavailable."""
    merged, syncs = facts.merged, facts.syncs
    if merged is None or syncs is None:
        return {}
    pending: dict[str, Pending | None] = {}
    for contract in clients.streams:
        jobs = {sync.job_id for entry in merged.get(contract.id, ()) for sync in syncs.get(entry.batch_id, ())}
        pending[contract.id] = read("lake", partial(waiting, clients.lake, contract, jobs, facts.since))
    return pending


def _sources(
    clients: Clients, read: TolerantReader, prefect: PrefectFacts | None, troubles: Mapping[str, Trouble], now: datetime
) -> Iterable[SourceStatus]:
    ingests = [link(run, clients.links.prefect) for run in (prefect.of("ingest") if prefect else [])][:INGESTS]
    run_of_job = read("lake", lambda: runs_of_jobs(clients.lake, ingests)) or {}

    def jobs() -> dict[str, tuple[SyncStatus, ...]]:
        with clients.airbyte() as client:
            return {source: read_syncs(client, source) for source in clients.sources}

    syncs_of, as_of = _syncs_by_source(read, jobs, clients.lake, now)
    for contract in clients.sources.values():
        syncs = syncs_of.get(contract.source)
        trouble = troubles.get(f"ingest {contract.source}")
        if syncs is not None:
            syncs = tuple(s.model_copy(update={"run": run_of_job.get((s.source, s.job_id), s.run)}) for s in syncs)
        yield SourceStatus(
            source=contract.source,
            description=contract.description,
            health=_source_health(syncs, trouble),
            syncs=syncs,
            as_of=as_of,
            trouble=trouble,
        )


def _syncs_by_source(
    read: TolerantReader, jobs: Callable[[], dict[str, tuple[SyncStatus, ...]]], lake: Lake, now: datetime
) -> tuple[Mapping[str, tuple[SyncStatus, ...]], datetime | None]:
    """Return the syncs by source, and the time of the snapshot when another run has read them from Airbyte.

    Airbyte may be unavailable, or this run may lack its credentials; of runs that end together only one reads it.
    """
    airbyte, snapshot = TolerantReader(), read("lake", lambda: recall(lake))
    if snapshot and timedelta() <= now - snapshot.at < FRESH:
        return snapshot.syncs, snapshot.at
    if (syncs := airbyte("airbyte", jobs)) is not None:
        return syncs, None
    if snapshot is None or now - snapshot.at > USABLE:
        read.unknown += airbyte.unknown
    return (snapshot.syncs, snapshot.at) if snapshot else ({}, None)


def _source_health(syncs: tuple[SyncStatus, ...] | None, trouble: Trouble | None) -> Health:
    if trouble and not trouble.over:
        return "bad"
    if syncs is None:
        return "unknown"
    newest = syncs[0].status if syncs else ""
    return "bad" if newest == "failed" else "working" if newest in (RUNNING, "pending") else "good"


def _publications(ledger: list[LedgerEntry], run: Callable[[str], RunLink]) -> tuple[Publication, ...]:
    """Return the publications in the ledger, newest first."""
    batches: dict[str, list[LedgerEntry]] = {}
    for entry in ledger:
        if entry.kind == "published":
            batches.setdefault(entry.detail, []).append(entry)
    publications = [
        Publication(at=e[0].at, candidate=c, run=run(e[0].run_id), batches=len(e)) for c, e in batches.items()
    ]
    return tuple(sorted(publications, key=lambda p: p.at, reverse=True))


def _status(
    clients: Clients,
    read: TolerantReader,
    facts: Facts,
    sources: tuple[SourceStatus, ...],
    streams: tuple[StreamStatus, ...],
    publications: tuple[Publication, ...],
    quality: Quality | None,
    prefect: PrefectFacts | None,
) -> Status:
    rows, links = read("marts", clients.warehouse.marts), clients.links
    unknown = MartLineage("", ())
    marts = (
        None
        if rows is None
        else tuple(
            Mart(
                name=name,
                rows=count,
                description=facts.marts.get(name, unknown).description,
                streams=facts.marts.get(name, unknown).streams,
            )
            for name, count in sorted(rows.items())
        )
    )
    unpublished = sum(batch.published_at is None for stream in streams for batch in stream.batches)
    stations = (
        stationing.source_station(sources, facts.now, links),
        stationing.lake_station(streams),
        stationing.events_station(prefect, links),
        stationing.merge_station(streams, links),
        stationing.gate_station(quality, facts.troubles.get("model"), links),
        stationing.marts_station(marts, publications, unpublished, facts.now, links),
    )
    troubles = sorted(facts.troubles.values(), key=lambda t: (t.over, -t.at.timestamp()))
    healths: list[Health] = [s.health for s in stations]
    others = [name for name, t in facts.troubles.items() if not t.over and not name.startswith(STATION_WORK)]
    return Status(
        at=facts.now,
        since=facts.since,
        health=stationing.worst(healths + ["look"] * bool(others)),
        headline=stationing.headline(stations, streams, others, read.unknown),
        stations=stations,
        sources=sources,
        streams=streams,
        marts=marts,
        publications=publications,
        quality=quality,
        steps=None if prefect is None else steps(prefect),
        troubles=tuple(troubles),
        unknown=tuple(dict.fromkeys(read.unknown)),
        links=links,
    )
