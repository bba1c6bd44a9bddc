"""Starts the syncs of connections with a cron schedule; a time at which the server was down is not made up for."""

import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from local.servers.airbyte.quartz import parse
from local.servers.airbyte.store import Json, Store

TICK_S = 0.5


class Scheduler:
    """Looks at the schedules of active connections, and starts a sync of each that is due and not running."""

    def __init__(
        self, store: Store, start: Callable[[Json], None], clock: Callable[[], datetime] | None = None
    ) -> None:
        self._store, self._start = store, start
        self._clock = clock or (lambda: datetime.now(UTC))
        self._seen = self._clock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def open(self) -> None:
        """Begin to look, in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self) -> list[int]:
        """Start what became due since the last call; returns the ids of the jobs."""
        since, now = self._seen, self._clock()
        self._seen = now
        started = []
        for connection in self._store.items("connections"):
            due = connection["status"] == "active" and is_due(connection.get("schedule") or {}, since, now)
            if due and (job := self._store.add_job(connection["connectionId"])):
                self._start(job)
                started.append(int(job["jobId"]))
        return started

    def _run(self) -> None:
        while not self._closing.wait(TICK_S):
            try:
                self.tick()
            except Exception:  # a connection that can't be started must not end the schedule of the others
                traceback.print_exc()


def is_due(schedule: Json, since: datetime, now: datetime) -> bool:
    """Return True if a cron schedule names an instant after `since`, up to `now`."""
    if schedule.get("scheduleType") != "cron" or check_schedule(schedule):  # an older version took any
        return False
    due = parse(str(schedule["cronExpression"])).next_after(since)
    return due is not None and due <= now


def check_schedule(schedule: Json) -> str:
    """Return what is wrong with a connection's schedule, or ''."""
    kind = schedule.get("scheduleType", "manual")
    if kind == "manual":
        return ""
    if kind != "cron":
        return f"scheduleType {kind!r} is not manual or cron"
    try:
        parse(str(schedule.get("cronExpression") or ""))
    except ValueError as error:
        return f"cronExpression: {error}"
    return ""
