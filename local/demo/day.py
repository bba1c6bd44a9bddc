"""Takes one day through the platform: advances the source, starts `ingest`, and watches until the marts have it."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from beam_job.batches import pending
from local.demo.airport_ops.replay import advance
from local.demo.prefect import PrefectApi, Run
from local.demo.say import Say, describe
from local.stack.place import Place
from millrace.contracts.source import SourceContract
from millrace.domain.model import unpublished
from millrace.lake.store import Lake
from millrace.warehouse.port import Warehouse

POLL_S = 0.5
QUIET_S = 20.0
DAY_LIMIT_S = 900.0
MAX_RECONCILES = 4


class DayFailed(Exception):
    """A day did not reach the marts; the message says why and where to look."""


@dataclass
class DayResult:
    """What one day did, step by step."""

    day: int
    runs: list[Run] = field(default_factory=list)
    seconds: float = 0.0
    landing_to_marts_s: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    reconciles: int = 0


@dataclass(frozen=True)
class Platform:
    """What the demonstration looks at."""

    place: Place
    api: PrefectApi
    lake: Lake
    warehouse: Warehouse
    source: SourceContract


def take_day(platform: Platform, day: int, say: Say) -> DayResult:
    """Replay a day, ingest it, and wait until nothing is left to do.

    Raises:
        DayFailed: runs failed and reconciling did not mend it, or it took too long.
    """
    began, result = time.monotonic(), DayResult(day)
    since = datetime.now(UTC)
    advance(platform.place.database, day)
    platform.api.start("ingest/ingest", {"source": platform.source.source})
    watch(platform, since, result, say, ingested=False)
    result.seconds = time.monotonic() - began
    return result


def finish_open_work(platform: Platform, day: int, say: Say) -> None:
    """Ingest and publish what an interrupted run left of the days that were replayed already."""
    say(f"day {day}: looking for work that was left", "bold")
    since, result = datetime.now(UTC), DayResult(day)
    platform.api.start("ingest/ingest", {"source": platform.source.source})
    if not is_settled(platform):
        platform.api.start("reconcile/reconcile", {})  # the events of what landed before are long past
    watch(platform, since, result, say, ingested=False)


def watch(platform: Platform, since: datetime, result: DayResult, say: Say, *, ingested: bool) -> None:
    """Show runs as they end, until the ingest has ended and everything landed is published."""
    shown: set[str] = set()
    deadline, quiet_since = time.monotonic() + DAY_LIMIT_S, time.monotonic()
    while True:
        runs = platform.api.runs(since)
        for run in (r for r in runs if not r.active and r.id not in shown):
            shown.add(run.id)
            result.runs.append(run)
            describe(run, platform.api.artifacts(run.id), result.rows, say)
        if any(r.flow == "ingest" and r.bad for r in runs) and not any(r.active for r in runs):
            raise DayFailed(next(f"ingest failed: {r.message}" for r in runs if r.flow == "ingest" and r.bad))
        ingested = ingested or any(r.flow == "ingest" and not r.active for r in runs)
        if any(r.active for r in runs):
            quiet_since = time.monotonic()
        elif ingested and is_settled(platform):
            result.landing_to_marts_s = landing_to_marts(runs)
            return
        elif time.monotonic() - quiet_since > QUIET_S:
            quiet_since = time.monotonic()
            _reconcile(platform, result, runs, say)
        if time.monotonic() > deadline:
            raise DayFailed(f"day {result.day} is not in the marts after {DAY_LIMIT_S:.0f} s; see the runs in Prefect")
        time.sleep(POLL_S)  # looks on as a user would: Prefect's API is asked, nothing is told


def _reconcile(platform: Platform, result: DayResult, runs: list[Run], say: Say) -> None:
    """Do now what the schedule would do later."""
    if result.reconciles >= MAX_RECONCILES:
        why = "; ".join(f"{r.name}: {r.message}" for r in runs if r.bad) or "no run failed"
        raise DayFailed(f"work is left after {MAX_RECONCILES} reconciliations: {why}")
    result.reconciles += 1
    say.warn("nothing runs, but work is left: starting reconcile")
    platform.api.start("reconcile/reconcile", {})


def is_settled(platform: Platform) -> bool:
    """Whether lake, ledger and marts agree."""
    if any(pending(platform.lake, platform.warehouse, s) for s in platform.source.streams.values()):
        return False
    return unpublished(platform.warehouse.ledger()) is None


def landing_to_marts(runs: list[Run]) -> float:
    """Seconds from the end of the first ingest to the end of the last model run."""
    landed = [r.ended for r in runs if r.flow == "ingest" and r.ended]
    published = [r.ended for r in runs if r.flow == "model" and r.ended]
    return (max(published) - min(landed)).total_seconds() if landed and published else 0.0
