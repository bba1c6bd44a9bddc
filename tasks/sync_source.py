"""Starts an Airbyte job and watches it to its end."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from blocks.airbyte_client import TERMINAL, AirbyteClient, SyncRunning
from contracts.errors import ServiceUnavailable, SyncTimeout
from contracts.sync import StartedSync, Sync
from tasks.place import airbyte_block
from tasks.retries import DELAYS_S, is_transient
from tasks.source import source_contract

log = logging.getLogger(__name__)


@task(task_run_name="start sync of {source}", retries=3, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient)
def start_sync(source: str) -> StartedSync:
    """Start a sync of a source, or attach to the one that runs; its result is kept, so a retried run finds the job.

    Raises:
        UnknownStream: no such source.
        AirbyteRefused: the connection is inactive, or Airbyte won't.
    """
    source_contract(source)
    airbyte = airbyte_block()
    with airbyte.open() as client:
        connection_id = client.connection(source)["connectionId"]
        before = {job["jobId"] for job in client.newest_jobs(connection_id)}
        try:
            job_id, attached = client.start_job(connection_id), False
        except (SyncRunning, ServiceUnavailable) as error:
            job_id, attached = _job_under_way(client, connection_id, before, error), True
    log.info("sync.started", extra={"event": "sync.started", "fields": {"source": source, "job_id": job_id}})
    return StartedSync(source=source, connection_id=connection_id, job_id=job_id, attached=attached)


def _job_under_way(client: AirbyteClient, connection_id: str, before: set[int], error: Exception) -> int:
    """The job that our unanswered request, or someone else, started."""
    for job in client.newest_jobs(connection_id):
        if job["status"] not in TERMINAL or job["jobId"] not in before:
            return int(job["jobId"])
    raise ServiceUnavailable(f"Airbyte has no running job of connection {connection_id} after: {error}")


@task(task_run_name="watch sync {started.job_id} of {started.source}", retries=3, retry_delay_seconds=DELAYS_S,
      retry_condition_fn=is_transient)  # fmt: skip
def watch_sync(started: StartedSync) -> Sync:
    """Wait until a job ends; cancels it past the deadline.

    Raises:
        SyncTimeout: the job ran past the block's `sync_timeout_s`.
    """
    airbyte = airbyte_block()
    with airbyte.open() as client:
        job = _poll(client, started, airbyte.poll_s, time.monotonic() + airbyte.sync_timeout_s, time.sleep)
    sync = Sync(
        source=started.source,
        connection_id=started.connection_id,
        job_id=started.job_id,
        created_at=_created_at(job),
        outcome=job["status"],
        rows=job.get("rowsSynced"),
        bytes=job.get("bytesSynced"),
        error=str(job.get("errorMessage") or job.get("failureReason") or ""),
    )
    log.info("sync.ended", extra={"event": "sync.ended", "fields": sync.model_dump(mode="json")})
    return sync


def _poll(
    client: AirbyteClient, started: StartedSync, poll_s: float, deadline: float, sleep: Callable[[float], None]
) -> dict[str, Any]:
    progress = create_progress_artifact(progress=0.0, description=f"sync {started.job_id} of {started.source}")
    while (job := client.job(started.job_id))["status"] not in TERMINAL:
        if time.monotonic() > deadline:
            client.cancel_job(started.job_id)
            raise SyncTimeout(
                f"sync {started.job_id} of {started.source} is still {job['status']} past its deadline and was"
                " cancelled; look at the job's log in Airbyte, then run ingest again"
            )
        sleep(poll_s)
    update_progress_artifact(cast(UUID, progress), progress=100.0)
    return job


def _created_at(job: dict[str, Any]) -> datetime:
    """When Airbyte made the job: the public API tells its start, as a string or as seconds."""
    value = job.get("createdAt") or job.get("startTime")
    if isinstance(value, int | float):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
