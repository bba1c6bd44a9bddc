"""Runs one day through the platform: advances the source, starts `ingest`, and waits until the marts have the day."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from beam_job.batches import pending
from local.demo.airport_ops.replay import advance
from local.demo.prefect import PrefectApi, Run
from local.demo.say import Say, describe
from local.stack.local_stack import LocalStack
from millrace.contracts.source import SourceContract
from millrace.lake.store import Lake
from millrace.warehouse.port import Warehouse

POLL_S = 0.5
QUIET_S = 20.0
DAY_LIMIT_S = 900.0
MAX_RECONCILES = 4
SHOW = "show"


class DayFailed(Exception):
    """A day did not reach the marts; the message has the reason and where to look."""


@dataclass
class DayResult:
    """Runs, rows and durations of one day."""

    day: int
    runs: list[Run] = field(default_factory=list)
    seconds: float = 0.0
    landing_to_marts_s: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    reconciles: int = 0


@dataclass(frozen=True)
class Platform:
    """The stack of the demonstration, and clients of its servers."""

    stack: LocalStack
    api: PrefectApi
    lake: Lake
    warehouse: Warehouse
    source: SourceContract


def take_day(platform: Platform, day: int, say: Say) -> DayResult:
    """Replay a day, ingest it, and wait until nothing is left to do.

    Raises:
        DayFailed: runs failed and reconciling did not repair it, or it took too long.
    """
    began, result = time.monotonic(), DayResult(day)
    since = datetime.now(UTC)
    advance(platform.stack.database, day)
    platform.api.start("ingest/ingest", {"source": platform.source.source})
    watch(platform, since, result, say)
    result.seconds = time.monotonic() - began
    return result


def finish_open_work(platform: Platform, day: int, say: Say) -> None:
    """Ingest and publish the rest of the replayed days, which an interrupted run left."""
    say(f"day {day}: looking for unfinished work", "bold")
    since, result = datetime.now(UTC), DayResult(day)
    platform.api.start("ingest/ingest", {"source": platform.source.source})
    if not is_settled(platform):
        platform.api.start("reconcile/reconcile", {})  # the events of earlier landings were sent long ago
    watch(platform, since, result, say)


def watch(platform: Platform, since: datetime, result: DayResult, say: Say) -> None:
    """Show runs as they end, until the ingest has ended and everything landed is published."""
    began = quiet_since = time.monotonic()
    while not _is_published(platform, runs := _show_ended(platform, since, result, say)):
        now = time.monotonic()
        if any(r.active for r in runs):
            quiet_since = now
        elif now - quiet_since > QUIET_S:
            quiet_since = now
            _reconcile(platform, result, runs, say)
        if now - began > DAY_LIMIT_S:
            raise DayFailed(f"day {result.day} is not in the marts after {DAY_LIMIT_S:.0f} s; see the runs in Prefect")
        time.sleep(POLL_S)  # as a user who watches the UI: it polls Prefect's API, and receives no events
    result.landing_to_marts_s = landing_to_marts(runs)


def _show_ended(platform: Platform, since: datetime, result: DayResult, say: Say) -> list[Run]:
    """Show runs that have ended and add them to the result; return all runs.

    Raises:
        DayFailed: the ingest failed, and no run is active that could retry it.
    """
    runs = [run for run in platform.api.runs(since) if run.flow != SHOW]  # no reader of the marts waits for it
    shown = {run.id for run in result.runs}
    for run in (r for r in runs if not r.active and r.id not in shown):
        result.runs.append(run)
        describe(run, platform.api.artifacts(run.id), result.rows, say)
    failed = [r for r in runs if r.flow == "ingest" and r.bad]
    if failed and not any(r.active for r in runs):
        raise DayFailed(f"ingest failed: {failed[0].message}")
    return runs


def _is_published(platform: Platform, runs: list[Run]) -> bool:
    """Return True when the ingest and all other runs have ended, and nothing is left to merge or publish."""
    return any(r.flow == "ingest" for r in runs) and not any(r.active for r in runs) and is_settled(platform)


def _reconcile(platform: Platform, result: DayResult, runs: list[Run], say: Say) -> None:
    """Start reconcile now, as the schedule would later."""
    if result.reconciles >= MAX_RECONCILES:
        reason = "; ".join(f"{r.name}: {r.message}" for r in runs if r.bad) or "no run failed"
        raise DayFailed(f"work is left after {MAX_RECONCILES} reconciliations: {reason}")
    result.reconciles += 1
    say.warn("nothing runs, but work is left: starting reconcile")
    platform.api.start("reconcile/reconcile", {})


def is_settled(platform: Platform) -> bool:
    """Return True when every landed object is merged and every merge is published."""
    if any(pending(platform.lake, platform.warehouse, s) for s in platform.source.streams.values()):
        return False
    return not platform.warehouse.unpublished()


def landing_to_marts(runs: list[Run]) -> float:
    """Return the seconds from the end of the first ingest to the end of the last model run."""
    landed = [r.ended for r in runs if r.flow == "ingest" and r.ended]
    published = [r.ended for r in runs if r.flow == "model" and r.ended]
    return (max(published) - min(landed)).total_seconds() if landed and published else 0.0
