"""Schedules of the local Airbyte: Quartz expressions as Airbyte reads them, and the syncs that they start."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.servers.airbyte.quartz import parse
from local.servers.airbyte.scheduler import Scheduler, check_schedule
from local.servers.airbyte.store import Json, Store
from tests.support.servers import wait_until

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 0 * * * ? UTC", "2026-01-01T12:00:00", "2026-01-01T13:00:00"),
        ("0 0/15 * * * ? UTC", "2026-01-01T12:07:30", "2026-01-01T12:15:00"),
        ("*/20 * * * * ? UTC", "2026-01-01T12:00:00", "2026-01-01T12:00:20"),
        ("0 30 6 ? * MON-FRI UTC", "2026-01-02T07:00:00", "2026-01-05T06:30:00"),
        ("0 0 6 ? * 1 UTC", "2026-01-01T12:00:00", "2026-01-04T06:00:00"),
        ("0 0 6 ? * FRI-MON UTC", "2026-01-05T07:00:00", "2026-01-09T06:00:00"),
        ("0 0 0 L * ? UTC", "2026-02-01T00:00:00", "2026-02-28T00:00:00"),
        ("0 0 0 29 2 ? UTC", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 0 ? * MON#2 UTC", "2026-01-01T00:00:00", "2026-01-12T00:00:00"),
        ("0 0 0 ? * FRIL UTC", "2026-01-01T00:00:00", "2026-01-30T00:00:00"),
        ("0 0 9 * * ? Europe/Berlin", "2026-07-01T00:00:00", "2026-07-01T07:00:00"),
        ("0 30 2 * * ? Europe/Berlin", "2026-03-28T12:00:00", "2026-03-30T00:30:00"),
        ("0 0 0 1 1 ? 2027 UTC", "2026-01-01T12:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_next_time_is_that_of_quartz(expression: str, after: str, expected: str) -> None:
    at = parse(expression).next_after(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert at == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("0 0 * * ? UTC", "has 5 fields"),
        ("0 61 * * * ? UTC", "'61' is not a value of the minutes"),
        ("0 0 0 ? * ? UTC", "only one of"),
        ("0 0 * * * ? Berlin", "'Berlin' is not a time zone"),
        ("0 0 0 15W * ? UTC", "'15W' is not a value of the day of the month"),
        ("0 0/0 * * * ? UTC", "'0/0' is not a value"),
    ],
)
def test_wrong_schedule_is_refused_with_its_part(expression: str, problem: str) -> None:
    assert problem in check_schedule({"scheduleType": "cron", "cronExpression": expression})
    assert check_schedule({"scheduleType": "basic"}) == "scheduleType 'basic' is not manual or cron"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "airbyte.sqlite")
    schedule = {"scheduleType": "cron", "cronExpression": "0 0 * * * ? UTC"}
    for number, (status, of) in enumerate(
        [("active", schedule), ("inactive", schedule), ("active", {"scheduleType": "manual"})]
    ):
        store.put("connections", str(number), {"connectionId": str(number), "status": status, "schedule": of})
    return store


def test_due_active_connection_starts_one_sync(store: Store) -> None:
    now, started = [NOON - timedelta(seconds=1)], list[Json]()
    scheduler = Scheduler(store, started.append, lambda: now[0])
    assert scheduler.tick() == []
    now[0] = NOON + timedelta(seconds=1)
    assert len(scheduler.tick()) == 1
    assert [job["connectionId"] for job in started] == ["0"]
    assert scheduler.tick() == [], "each time starts once"
    now[0] = NOON + timedelta(hours=1)
    assert scheduler.tick() == [], "the sync of the hour before still runs"
    store.change_job(started[0]["jobId"], status="succeeded")
    now[0] = NOON + timedelta(hours=5)
    assert len(scheduler.tick()) == 1, "missed hours are one sync"


def test_schedule_runs_in_the_background(store: Store) -> None:
    every_second = {"scheduleType": "cron", "cronExpression": "* * * * * ? UTC"}
    store.put("connections", "3", {"connectionId": "3", "status": "active", "schedule": {"scheduleType": "cron"}})
    store.put("connections", "4", {"connectionId": "4", "status": "active", "schedule": every_second})
    started = list[Json]()
    scheduler = Scheduler(store, started.append)
    scheduler.open()
    try:
        wait_until(lambda: "4" in [job["connectionId"] for job in started], "the sync was started", 30)
    finally:
        scheduler.close()
