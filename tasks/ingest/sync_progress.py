"""Shows a sync's progress in Prefect's UI: rows, bytes and rate, relative to the newest successful sync."""

import time
from collections.abc import Sequence
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from millrace.airbyte.job import Job
from millrace.domain.sync import StartedSync

SHOW_S = 5.0
ALMOST = 99.0


class SyncProgress:
    """A progress artifact of one sync; `before` are earlier jobs of its connection, newest first."""

    def __init__(self, started: StartedSync, before: Sequence[Job]) -> None:
        self._title = f"Sync {started.job_id} of {started.source}"
        succeeded = (job.rows or 0 for job in before if job.succeeded)
        self._expected = next(succeeded, 0)
        self._began = time.monotonic()
        self._rows_then: int | None = None
        self._shown = self._began - SHOW_S
        artifact = create_progress_artifact(
            progress=0.0, key=f"sync-{started.source}".replace("_", "-"), description=f"{self._title}: started"
        )
        self._artifact = cast(UUID, artifact)

    def show(self, job: Job) -> None:
        """Show a running job, at most every few seconds."""
        if time.monotonic() - self._shown < SHOW_S:
            return
        self._shown = time.monotonic()
        share = 100.0 * (job.rows or 0) / self._expected if self._expected else 0.0
        self._update(min(share, ALMOST), job)

    def end(self, job: Job) -> None:
        """Show an ended job."""
        self._update(100.0, job)

    def _update(self, progress: float, job: Job) -> None:
        rows = job.rows or 0
        if self._rows_then is None:
            self._rows_then = rows
        seconds = time.monotonic() - self._began
        rate = (rows - self._rows_then) / seconds if seconds > 0 else 0.0
        update_progress_artifact(self._artifact, progress=progress, description=describe(self._title, job, rate))


def describe(title: str, job: Job, rate: float) -> str:
    """Return one line: the rows and bytes that the job has read, and the rate since the first poll."""
    rows, size = job.rows or 0, job.bytes or 0
    return f"{title}: {job.status}, {rows:,} rows, {size / 1e6:,.1f} MB, {rate:,.0f} rows/s"
