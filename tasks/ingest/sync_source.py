"""Starts an Airbyte job and watches it to its end."""

import logging
import time
from datetime import UTC, datetime, timedelta

from millrace.airbyte.client import AirbyteClient
from millrace.airbyte.job import Job
from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable, SyncRunning, SyncTimeout
from millrace.domain.sync import RequestedSync, StartedSync, Sync
from millrace.observability.events import log_event
from tasks.context import airbyte_block, open_lake, run_id, source_contract
from tasks.ingest.sync_progress import SyncProgress
from tasks.ingest.webhook_error import webhook_error
from tasks.retries import transient_task, uncached_task
from tasks.started_syncs import forget_sync, recall_requested, recall_sync, remember_requested, remember_sync

log = logging.getLogger(__name__)

LATE = timedelta(minutes=5)  # after a job's end, from when on its webhook is not awaited


@uncached_task(task_run_name="start sync of {source}", retries=3)
def start_sync(source: str, streams: list[str] | None = None) -> StartedSync:
    """Start a sync of a source, attach to a running one, or return the one that this run has started before.

    Running twice equals running once, by the flow run's id, until the sync is reported as failed: the request is stored
    before it is sent, and the started sync before it is watched.

    Raises:
        UnknownStream: no such source or stream.
        AirbyteRefused: the connection is inactive, or Airbyte rejects the request.
    """
    contract = source_contract(source)
    for stream in streams or ():
        contract.stream(stream)
    lake, run = open_lake(), run_id()
    if remembered := recall_sync(lake, run):
        return remembered
    with airbyte_block().open() as client:
        connection_id = client.active_connection(source)["connectionId"]
        requested = recall_requested(lake, run)
        if requested is None or requested.connection_id != connection_id:
            requested = _request(client, source, connection_id)
            remember_requested(lake, run, requested)
        started = _started_before(client, requested) or _start(client, requested)
    remember_sync(lake, run, started)
    log_event(log, logging.INFO, "sync.started", **started.model_dump(mode="json"))
    return started


def _request(client: AirbyteClient, source: str, connection_id: str) -> RequestedSync:
    newest = max((job.id for job in client.newest_jobs(connection_id)), default=0)
    return RequestedSync(source=source, connection_id=connection_id, after_job_id=newest, at=datetime.now(UTC))


def _started_before(client: AirbyteClient, requested: RequestedSync) -> StartedSync | None:
    """Return the job of a request whose response was lost by a timeout, a 5xx, or the death of the run."""
    newer = [job.id for job in client.newest_jobs(requested.connection_id) if job.id > requested.after_job_id]
    return _as_started(requested, min(newer)) if newer else None


def _start(client: AirbyteClient, requested: RequestedSync) -> StartedSync:
    """Start a job, or attach to the running one that Airbyte reports.

    Raises:
        ServiceUnavailable: Airbyte did not answer, and has no job that could be ours; a retry looks for it again.
    """
    try:
        return _as_started(requested, client.start_job(requested.connection_id))
    except SyncRunning as error:
        running = [j for j in client.newest_jobs(requested.connection_id) if not j.ended]
        if not running:
            raise ServiceUnavailable(
                f"Airbyte reports a running sync of connection {requested.connection_id} but lists none: {error}"
            ) from None
        return _as_started(requested, running[0].id)
    except ServiceUnavailable:
        if started := _started_before(client, requested):
            return started
        raise


def _as_started(requested: RequestedSync, job_id: int) -> StartedSync:
    return StartedSync(
        source=requested.source,
        connection_id=requested.connection_id,
        job_id=job_id,
        attached=job_id <= requested.after_job_id,
        at=requested.at,
    )


@transient_task(task_run_name="watch sync {started.job_id} of {started.source}", tags=[names.STEP_TAG], retries=3)
def watch_sync(started: StartedSync) -> Sync:
    """Wait until a job ends, and show its progress; cancels it past the deadline.

    The deadline counts from the request of the sync, so that a retry does not extend it. An unknown status does not
    count as the end.

    Raises:
        SyncTimeout: the job ran past the block's `sync_timeout_s`.
    """
    airbyte = airbyte_block()
    deadline = (started.at or datetime.now(UTC)) + timedelta(seconds=airbyte.sync_timeout_s)
    with airbyte.open() as client:
        job = _poll(client, started, airbyte.poll_s, deadline)
        modes = client.sync_modes(started.connection_id)
    sync = Sync(
        source=started.source,
        connection_id=started.connection_id,
        job_id=started.job_id,
        created_at=job.created_at,
        ended_at=job.updated_at,
        outcome=job.status,
        rows=job.rows,
        bytes=job.bytes,
        sync_modes=modes,
        refreshes=job.refreshes,
        error=_error(started, job),
    )
    log_event(log, logging.INFO, "sync.ended", **sync.model_dump(mode="json"))
    return sync


def _error(started: StartedSync, job: Job) -> str:
    """Return the error of a failed job from the API when it has one, else from the webhook."""
    if job.error or job.status != "failed":
        return job.error
    just_ended = job.updated_at is not None and datetime.now(UTC) - job.updated_at < LATE
    return webhook_error(started.source, started.job_id) if just_ended else ""


def _poll(client: AirbyteClient, started: StartedSync, poll_s: float, deadline: datetime) -> Job:
    before = [j for j in client.newest_jobs(started.connection_id) if j.id < started.job_id]
    progress = SyncProgress(started, before)
    while not (job := client.job(started.job_id)).ended:
        progress.show(job)
        if datetime.now(UTC) > deadline:
            client.cancel_job(started.job_id)
            forget_sync(open_lake(), run_id())
            raise SyncTimeout(
                f"sync {started.job_id} of {started.source} is still {job.status} past its deadline and was"
                " cancelled; look at the job's log in Airbyte, then run ingest again"
            )
        time.sleep(poll_s)
    progress.end(job)
    return job
