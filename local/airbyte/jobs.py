"""Requests for jobs in, jobs that run in threads out."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO

from local.airbyte.bucket import Bucket
from local.airbyte.destination import FLUSH_BYTES, Landed
from local.airbyte.references import SecretManager, SecretMissing
from local.airbyte.store import Body, Store, timestamp
from local.airbyte.sync import Plan, Sync, SyncCancelled, SyncFailed

STOP_S = 20.0


@dataclass
class Running:
    """A job under way."""

    sync: Sync
    thread: threading.Thread


class Jobs:
    """Runs jobs, one per connection at a time."""

    def __init__(
        self, store: Store, bucket: Bucket, secrets: SecretManager, logs: Path, flush_bytes: int = FLUSH_BYTES
    ) -> None:
        self._store, self._bucket, self._secrets = store, bucket, secrets
        self._logs, self._flush_bytes = logs, flush_bytes
        self._running: dict[int, Running] = {}
        self._stopping = False
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, plan: Plan) -> int:
        """Start a sync by a plan that has no job yet; returns the job's id.

        Raises:
            JobRuns: one of the connection is active.
        """
        job_id = self._store.add_job(plan.connection_id, "sync")
        log = (self._logs / f"job-{job_id}.log").open("a", buffering=1)
        sync = Sync(
            replace(plan, job_id=job_id), self._store, self._bucket, self._secrets, self._flush_bytes, _writer(log)
        )
        thread = threading.Thread(target=self._run, args=(job_id, sync, log), name=f"job-{job_id}", daemon=True)
        self._running[job_id] = Running(sync, thread)
        thread.start()
        return job_id

    def reset(self, connection_id: str) -> int:
        """Forget the states of a connection, as a job of its own; returns its id.

        Raises:
            JobRuns: one of the connection is active.
        """
        job_id = self._store.add_job(connection_id, "reset")
        self._store.drop_all_states(connection_id)
        self._store.update_job(job_id, "succeeded")
        return job_id

    def cancel(self, job_id: int) -> bool:
        """Stop a job and wait until it has stopped; False when it is not running."""
        running = self._running.get(job_id)
        if running is None:
            return False
        running.sync.cancel.cancel()
        running.thread.join(STOP_S)
        return True

    def stop(self) -> None:
        """Stop all jobs, because the server ends."""
        self._stopping = True
        for job_id in list(self._running):
            self.cancel(job_id)

    def progress(self, job_id: int) -> Landed | None:
        """What a running job has landed so far."""
        running = self._running.get(job_id)
        return running.sync.destination.landed if running and running.sync.destination else None

    def _run(self, job_id: int, sync: Sync, log: IO[str]) -> None:
        status, error = "failed", ""
        self._store.update_job(job_id, "running")
        try:
            sync.run()
            status = "succeeded"
        except SyncCancelled:
            status, error = "cancelled", "the job was cancelled"
            if self._stopping:
                status, error = "failed", "the server was stopped while this job ran; start another"
        except (SyncFailed, SecretMissing) as failure:
            error = str(failure)
        except Exception as failure:  # a job must end, whatever broke
            error = f"{type(failure).__name__}: {failure}"
        finally:
            landed = sync.destination.landed if sync.destination else Landed()
            sync.log(f"{status}: {landed.rows} rows in {len(landed.objects)} objects {error}".rstrip())
            log.close()
            self._store.update_job(job_id, status, rows=landed.rows, size=landed.bytes, error=sync.hidden(error))
            self._running.pop(job_id, None)


def _writer(log: IO[str]) -> Callable[[str], None]:
    lock = threading.Lock()

    def write(text: str) -> None:
        with lock:
            if not log.closed:
                log.write(f"{timestamp()} {text}\n")

    return write


def job_body(job: Body, landed: Landed | None) -> Body:
    """A job as the API tells it; `errorMessage` is our addition."""
    rows, size = (landed.rows, landed.bytes) if landed else (job["rows"], job["bytes"])
    began, updated = (datetime.fromisoformat(job[name]) for name in ("created_at", "updated_at"))
    body = {
        "jobId": job["id"],
        "status": job["status"],
        "jobType": job["job_type"],
        "connectionId": job["connection_id"],
        "startTime": job["created_at"],
        "lastUpdatedAt": job["updated_at"],
        "duration": f"PT{int((updated - began).total_seconds())}S",
        "bytesSynced": size,
        "rowsSynced": rows,
    }
    return body | ({"errorMessage": job["error"]} if job["error"] else {})
