"""Runs jobs, each in a thread of its own, and writes how they end."""

import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from local.servers.airbyte.destination import Json, StreamWriter
from local.servers.airbyte.landing import SyncFailed
from local.servers.airbyte.process import GRACE_S, Cancel, Log
from local.servers.airbyte.secrets import SecretMissing
from local.servers.airbyte.store import SERVER_ENDED, Store
from local.servers.airbyte.sync import Syncs
from local.servers.airbyte.webhook import Notify


@dataclass(frozen=True)
class Running:
    """A running job."""

    thread: threading.Thread
    cancel: Cancel
    writers: dict[str, StreamWriter]


class Runner:
    """Starts and cancels jobs; it calls `notify` for each that ended."""

    def __init__(self, store: Store, syncs: Syncs, logs: Path, notify: Notify | None = None) -> None:
        self._store, self._syncs, self._logs, self._notify = store, syncs, logs, notify
        self._running: dict[int, Running] = {}
        self._closing = False
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, job: Json) -> None:
        """Run a job in the background."""
        cancel, writers = Cancel(), dict[str, StreamWriter]()
        thread = threading.Thread(target=self._run, args=(job, cancel, writers), daemon=True)
        self._running[job["jobId"]] = Running(thread, cancel, writers)
        thread.start()

    def as_it_stands(self, job: Json) -> Json:
        """Return a job with the rows and bytes that it has written until now."""
        running = self._running.get(job["jobId"])
        return job | written(running.writers) if running and job["status"] == "running" else job

    def cancel(self, number: int) -> None:
        """End a job's connector, now or as soon as it starts one; returns when the job has ended or after a while."""
        if running := self._running.get(number):
            running.cancel.cancel()
            running.thread.join(GRACE_S)

    def close(self) -> None:
        """End all jobs, as failed."""
        self._closing = True
        for number in list(self._running):
            self.cancel(number)

    def _run(self, job: Json, cancel: Cancel, writers: dict[str, StreamWriter]) -> None:
        number, began = job["jobId"], time.monotonic()
        with (self._logs / f"job-{number}.log").open("a", buffering=1) as file:

            def log(line: str) -> None:
                file.write(line + "\n")

            reason = self._failure(job, writers, log, cancel)
            log(f"ended: {reason or 'succeeded'}")
            duration = f"PT{time.monotonic() - began:.0f}S"
            changes = written(writers) | {"duration": duration} | self._end(reason, cancel)
            ended = self._store.change_job(number, **changes)
            self._running.pop(number, None)
            if self._notify:
                self._notify(ended, log)

    def _end(self, reason: str, cancel: Cancel) -> Json:
        if not reason:
            return {"status": "succeeded"}
        if self._closing:
            return {"status": "failed", "failureReason": SERVER_ENDED}
        return {"status": "cancelled" if cancel.requested.is_set() else "failed", "failureReason": reason}

    def _failure(self, job: Json, writers: dict[str, StreamWriter], log: Log, cancel: Cancel) -> str:
        """Sync; returns why it failed, or ''."""
        try:
            self._syncs.sync(job, writers, log, cancel)
        except (SyncFailed, SecretMissing) as error:
            return str(error)
        except Exception as error:  # the job fails with any error, as Airbyte's do
            log(traceback.format_exc())
            return f"{type(error).__name__}: {error}"
        return ""


def written(writers: dict[str, StreamWriter]) -> Json:
    """Rows and bytes in the lake."""
    streams = list(writers.values())  # a job that begins adds to them meanwhile
    return {"rowsSynced": sum(w.rows for w in streams), "bytesSynced": sum(w.bytes for w in streams)}
