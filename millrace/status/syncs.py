"""Airbyte's jobs of each source, with the flow runs that requested them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.airbyte.client import AirbyteClient
from millrace.airbyte.job import Job
from millrace.domain import names
from millrace.domain.errors import ObjectMissing
from millrace.domain.sync import StartedSync
from millrace.domain.types import Frozen
from millrace.lake.store import Lake
from millrace.status.types import RunLink, Status, SyncStatus

NEWEST = 10
JSON = "application/json"
RUNNING = "running"


def read_syncs(client: AirbyteClient, source: str) -> tuple[SyncStatus, ...]:
    """Return the newest jobs of a source's connection, newest first."""
    jobs = client.newest_jobs(client.connection(source)["connectionId"], NEWEST)
    return tuple(_sync(source, job) for job in jobs)


class RememberedSyncs(Frozen):
    """A snapshot of Airbyte's jobs by source, for runs without its credentials, such as those of the model."""

    at: datetime
    syncs: dict[str, tuple[SyncStatus, ...]]


def remember(lake: Lake, status: Status) -> None:
    """Store a status' syncs for other runs, unless they are from such a snapshot themselves."""
    syncs = {source.source: source.syncs for source in status.sources if source.syncs is not None and not source.as_of}
    if syncs:
        lake.write(names.STATUS_SYNCS, RememberedSyncs(at=status.at, syncs=syncs).model_dump_json().encode(), JSON)


def recall(lake: Lake) -> RememberedSyncs | None:
    """Return the newest snapshot that a run has stored, or None."""
    try:
        return RememberedSyncs.model_validate_json(lake.read(names.STATUS_SYNCS))
    except (ObjectMissing, ValueError):
        return None


def _sync(source: str, job: Job) -> SyncStatus:
    return SyncStatus(
        source=source,
        job_id=job.id,
        status=job.status,
        created_at=job.created_at,
        seconds=max(0.0, (job.ended_at - job.created_at).total_seconds()) if job.ended_at else None,
        rows=job.rows,
        bytes=job.bytes,
    )


def runs_of_jobs(lake: Lake, runs: Iterable[RunLink]) -> dict[tuple[str, int], RunLink]:
    """Return the ingest run of each source and job; a failed sync has none, as its run has deleted the record."""
    run_of_job: dict[tuple[str, int], RunLink] = {}
    for run in runs:
        try:
            started = StartedSync.model_validate_json(lake.read(names.started_sync_path(run.id)))
        except (ObjectMissing, ValueError):
            continue
        run_of_job.setdefault((started.source, started.job_id), run)
    return run_of_job


def instant(value: Any) -> datetime:
    """Return a time of Airbyte's API, a text or seconds, as an instant."""
    if isinstance(value, int | float):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
