"""Gathers the figures of one day from the ledger, the contracts and Prefect, for the digest."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import EventFilter
from prefect.events.schemas.events import Event

from millrace.domain import names
from millrace.domain.alerts import REJECTED, work
from millrace.domain.digest import Day, WorkFailures
from millrace.domain.ledger import LedgerEntry
from tasks.context import open_warehouse, select_sources
from tasks.pauses import without_paused
from tasks.retries import uncached_task

PAGE = 200
EVENTS = 50  # the most that Prefect returns in one page
BAD = ("FAILED", "CRASHED")
DAY_S = 86400


@dataclass(frozen=True)
class Window:
    """The period from `begin` up to `end`, without it."""

    begin: datetime
    end: datetime


@uncached_task(task_run_name="gather the day", retries=3)
def gather_day(iso_date: str | None) -> Day:
    """Return the figures of a day (by default yesterday), from midnight to midnight (UTC).

    Raises:
        ValueError: the text is not a date such as 2026-01-31.
    """
    day = date.fromisoformat(iso_date) if iso_date else datetime.now(UTC).date() - timedelta(days=1)
    begin = datetime.combine(day, time(), UTC)
    window = Window(begin, begin + timedelta(days=1))
    ledger = read_ledger(window)
    merged = tuple(entry for entry in ledger if entry.kind == "merged")
    with get_client(sync_client=True) as client:
        runs = read_runs(client, window)
        return Day(
            day=day,
            merged=merged,
            publications=len({entry.detail for entry in ledger if entry.kind == "published"}),
            rejections=len(read_payloads(client, names.QUALITY_FAILED, window)),
            completed=sum(_type(run) == "COMPLETED" for run in runs),
            failures=failures_by_work(runs),
            recovered_by_reconcile=count_recovered(client, window),
            dead_letters=count_dead_letters(client, window),
            silent=silent_streams(merged),
        )


def read_ledger(window: Window) -> list[LedgerEntry]:
    """Return the ledger's merges and publications within a window."""
    return open_warehouse().ledger(window.begin, ("merged", "published"), window.end)


def read_runs(client: SyncPrefectClient, window: Window) -> list[FlowRun]:
    """Return the runs that ended within a window, oldest first."""
    ended = {"after_": window.begin.isoformat(), "before_": window.end.isoformat()}
    run_filter = FlowRunFilter.model_validate({"end_time": ended})
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_run_filter=run_filter, sort=FlowRunSort.END_TIME_DESC, limit=PAGE, offset=len(runs)
    ):
        runs += page
    return runs[::-1]


def count_recovered(client: SyncPrefectClient, window: Window) -> int:
    """Return the number of gaps that reconcile closed because no event had."""
    return sum(int(payload["lost"]) for payload in read_payloads(client, names.RECONCILE_FOUND, window))


def count_dead_letters(client: SyncPrefectClient, window: Window) -> dict[str, int]:
    """Return the largest number of dead letters by topic."""
    largest: dict[str, int] = {}
    for payload in read_payloads(client, names.DEAD_LETTERS_FOUND, window):
        largest[payload["topic"]] = max(payload["count"], largest.get(payload["topic"], 0))
    return largest


def failures_by_work(runs: Sequence[FlowRun]) -> tuple[WorkFailures, ...]:
    """Return the failed work, most frequent first; `runs` are in the order of their ends. Rejected ones are none."""
    runs = [run for run in runs if run.state_name != REJECTED]
    failed = Counter(work(run.name) for run in runs if _type(run) in BAD)
    last = {work(run.name): _type(run) for run in runs}
    return tuple(
        WorkFailures(name=name, failed=count, failing=last[name] in BAD) for name, count in failed.most_common()
    )


def silent_streams(merged: Iterable[LedgerEntry]) -> tuple[str, ...]:
    """Return the streams without a merge whose contracts promise new data within a day."""
    active = {(entry.source, entry.stream) for entry in merged}
    streams = [stream for source in without_paused(select_sources(None)) for stream in source.streams.values()]
    daily = [stream for stream in streams if stream.freshness_s and stream.freshness_s <= DAY_S]
    return tuple(stream.id for stream in daily if (stream.source, stream.stream) not in active)


def read_payloads(client: SyncPrefectClient, name: str, window: Window) -> list[dict[str, Any]]:
    """Return the payloads of the events of a name within a window, oldest first."""
    occurred = {"since": window.begin.isoformat(), "until": window.end.isoformat()}
    page = client.read_events(EventFilter.model_validate({"event": {"name": [name]}, "occurred": occurred}), EVENTS)
    events: list[Event] = list(page.events)
    while page.next_page:
        page = client.read_events_page(str(page.next_page))
        events += page.events
    return [dict(event.payload) for event in reversed(events)]


def _type(run: FlowRun) -> str:
    return run.state_type.value if run.state_type else ""
