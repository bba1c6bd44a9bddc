"""What Airbyte knows of each source's jobs, and which flow runs asked for them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.airbyte.client import AirbyteClient
from millrace.airbyte.job import Job
from millrace.domain import names
from millrace.domain.sync import StartedSync
from millrace.domain.types import Frozen
from millrace.lake.store import Lake, ObjectMissing
from millrace.status.types import RunLink, Status, SyncStatus

NEWEST = 10
JSON = "application/json"
RUNNING = "running"


def ask_airbyte(client: AirbyteClient, source: str) -> tuple[SyncStatus, ...]:
    """The newest jobs of a source's connection, newest first."""
    jobs = client.newest_jobs(client.connection(source)["connectionId"], NEWEST)
    return tuple(_sync(source, job) for job in jobs)


class KnownSyncs(Frozen):
    """What Airbyte told of every source, and when: for runs that may not ask it, as those that only build the marts."""

    at: datetime
    syncs: dict[str, tuple[SyncStatus, ...]]


def remember(lake: Lake, status: Status) -> None:
    """Keep what Airbyte told this time; nothing when it was not asked."""
    told = {source.source: source.syncs for source in status.sources if source.syncs is not None and not source.as_of}
    if told:
        lake.write(names.STATUS_SYNCS, KnownSyncs(at=status.at, syncs=told).model_dump_json().encode(), JSON)


def recall(lake: Lake) -> KnownSyncs | None:
    """What another run was told last."""
    try:
        return KnownSyncs.model_validate_json(lake.read(names.STATUS_SYNCS))
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
    """By source and job, which of these ingest runs asked for it; a run whose sync failed has forgotten it."""
    found: dict[tuple[str, int], RunLink] = {}
    for run in runs:
        try:
            started = StartedSync.model_validate_json(lake.read(names.started_sync_path(run.id)))
        except (ObjectMissing, ValueError):
            continue
        found.setdefault((started.source, started.job_id), run)
    return found


def instant(value: Any) -> datetime:
    """A time of Airbyte's: a string, or seconds."""
    if isinstance(value, int | float):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
