"""Starts an Airbyte job and watches it to its end."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from blocks.airbyte_client import TERMINAL, AirbyteClient, SyncRunning
from contracts import names
from contracts.errors import ServiceUnavailable, SyncTimeout
from contracts.sync import StartedSync, Sync
from lake.store import Lake, ObjectMissing
from tasks.place import airbyte_block, open_lake
from tasks.retries import DELAYS_S, is_transient
from tasks.run_id import run_id
from tasks.source import source_contract

log = logging.getLogger(__name__)


@task(task_run_name="start sync of {source}", retries=3, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient,
      cache_policy=NO_CACHE)  # fmt: skip
def start_sync(source: str, streams: list[str] | None = None) -> StartedSync:
    """Start a sync of a source, attach to the one that runs, or find the one that this run started before.

    Running twice equals running once, by the flow run's id, until the sync is reported as failed.

    Raises:
        UnknownStream: no such source or stream.
        AirbyteRefused: the connection is inactive, or Airbyte won't.
    """
    contract = source_contract(source)
    for stream in streams or ():
        contract.stream(stream)
    lake = open_lake()
    if remembered := recall_sync(lake, run_id()):
        return remembered
    started = _start(source)
    lake.write(names.started_sync_path(run_id()), started.model_dump_json().encode(), "application/json")
    fields = started.model_dump(mode="json")
    log.info("sync.started", extra={"event": "sync.started", "fields": fields})
    return started


def recall_sync(lake: Lake, run: str) -> StartedSync | None:
    """The sync that a run started and has not reported as failed."""
    try:
        return StartedSync.model_validate_json(lake.read(names.started_sync_path(run)))
    except ObjectMissing:
        return None


def forget_sync(lake: Lake, run: str) -> None:
    """Let the run start another sync when it is retried."""
    lake.delete(names.started_sync_path(run))


def _start(source: str) -> StartedSync:
    airbyte = airbyte_block()
    with airbyte.open() as client:
        connection_id = client.connection(source)["connectionId"]
        before = {job["jobId"] for job in client.newest_jobs(connection_id)}
        try:
            job_id, attached = client.start_job(connection_id), False
        except (SyncRunning, ServiceUnavailable) as error:
            job_id, attached = _job_under_way(client, connection_id, before, error), True
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
        try:
            job = _poll(client, started, airbyte.poll_s, time.monotonic() + airbyte.sync_timeout_s, time.sleep)
        except SyncTimeout:
            forget_sync(open_lake(), run_id())
            raise
    sync = Sync(
        source=started.source,
        connection_id=started.connection_id,
        job_id=started.job_id,
        created_at=created_at(job),
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


def created_at(job: dict[str, Any]) -> datetime:
    """When Airbyte made the job: the public API tells its start, as a string or as seconds."""
    value = job.get("createdAt") or job.get("startTime")
    if isinstance(value, int | float):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
