"""Gathers what is known of a day from the ledger and from Prefect."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import EventFilter
from prefect.events.schemas.events import Event

from millrace.domain import names
from millrace.domain.alerts import work
from millrace.domain.digest import Day, RunsOfDay
from millrace.domain.ledger import LedgerEntry
from tasks.context import open_warehouse, wanted_sources
from tasks.retries import DELAYS_S, is_transient

PAGE = 200
EVENTS = 50  # the most that Prefect gives at once
BAD = ("FAILED", "CRASHED")


@task(
    task_run_name="gather the day",
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def gather_day(wanted: str | None) -> Day:
    """What was merged, published, refused and failed on a day (else yesterday), from midnight to midnight (UTC).

    Raises:
        ValueError: it is no day such as 2026-01-31.
    """
    day = date.fromisoformat(wanted) if wanted else datetime.now(UTC).date() - timedelta(days=1)
    begin = datetime.combine(day, time(), UTC)
    end = begin + timedelta(days=1)
    ledger = [e for e in open_warehouse().ledger(begin, ("merged", "published")) if e.at < end]
    merged = tuple(e for e in ledger if e.kind == "merged")
    with get_client(sync_client=True) as client:
        runs = list(_runs(client, begin, end))
        found = _payloads(client, names.RECONCILE_FOUND, begin, end)
        dead = _payloads(client, names.DEAD_LETTERS_FOUND, begin, end)
        refusals = len(_payloads(client, names.QUALITY_FAILED, begin, end))
    return Day(
        day=day,
        merged=merged,
        publications=len({e.detail for e in ledger if e.kind == "published"}),
        refusals=refusals,
        completed=sum(_type(run) == "COMPLETED" for run in runs),
        bad=bad_runs(runs),
        made_up_for=sum(int(payload["lost"]) for payload in found),
        dead_letters={
            payload["topic"]: max(p["count"] for p in dead if p["topic"] == payload["topic"]) for payload in dead
        },
        silent=silent_streams(merged),
    )


def bad_runs(runs: list[FlowRun]) -> tuple[RunsOfDay, ...]:
    """Work that failed, most often first; `runs` are in the order in which they ended."""
    failed = Counter(work(run.name) for run in runs if _type(run) in BAD)
    last = {work(run.name): _type(run) for run in runs}
    return tuple(RunsOfDay(name=n, failed=count, failing=last[n] in BAD) for n, count in failed.most_common())


def silent_streams(merged: tuple[LedgerEntry, ...]) -> tuple[str, ...]:
    """Streams whose contracts promise new data within a day, and that had none."""
    heard = {(e.source, e.stream) for e in merged}
    streams = [s for source in wanted_sources(None) for s in source.streams.values()]
    day_s = 86400
    return tuple(
        s.id for s in streams if s.freshness_s and s.freshness_s <= day_s and (s.source, s.stream) not in heard
    )


def _type(run: FlowRun) -> str:
    return run.state_type.value if run.state_type else ""


def _runs(client: SyncPrefectClient, begin: datetime, end: datetime) -> Iterator[FlowRun]:
    ended = {"after_": begin.isoformat(), "before_": end.isoformat()}
    wanted = FlowRunFilter.model_validate({"end_time": ended})
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_run_filter=wanted, sort=FlowRunSort.END_TIME_DESC, limit=PAGE, offset=len(runs)
    ):
        runs += page
    yield from reversed(runs)


def _payloads(client: SyncPrefectClient, name: str, begin: datetime, end: datetime) -> list[dict[str, Any]]:
    """What events of a name said, oldest first."""
    occurred = {"since": begin.isoformat(), "until": end.isoformat()}
    page = client.read_events(EventFilter.model_validate({"event": {"name": [name]}, "occurred": occurred}), EVENTS)
    events: list[Event] = list(page.events)
    while page.next_page:
        page = client.read_events_page(str(page.next_page))
        events += page.events
    return [dict(event.payload) for event in reversed(events)]
