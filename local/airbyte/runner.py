"""Runs jobs, each in a thread of its own, and writes how they end."""

import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from local.airbyte.destination import Json, StreamWriter
from local.airbyte.landing import SyncFailed
from local.airbyte.process import GRACE_S, Cancel, Log
from local.airbyte.secrets import SecretMissing
from local.airbyte.store import SERVER_ENDED, Store
from local.airbyte.sync import Syncs


@dataclass(frozen=True)
class Running:
    """A job under way."""

    thread: threading.Thread
    cancel: Cancel


class Runner:
    """Starts and cancels jobs."""

    def __init__(self, store: Store, syncs: Syncs, logs: Path) -> None:
        self._store, self._syncs, self._logs = store, syncs, logs
        self._running: dict[int, Running] = {}
        self._closing = False
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, job: Json) -> None:
        """Run a job in the background."""
        cancel = Cancel()
        thread = threading.Thread(target=self._run, args=(job, cancel), daemon=True)
        self._running[job["jobId"]] = Running(thread, cancel)
        thread.start()

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

    def _run(self, job: Json, cancel: Cancel) -> None:
        number, began = job["jobId"], time.monotonic()
        writers: dict[str, StreamWriter] = {}
        with (self._logs / f"job-{number}.log").open("a", buffering=1) as file:

            def log(line: str) -> None:
                file.write(line + "\n")

            reason = self._failure(job, writers, log, cancel)
            log(f"ended: {reason or 'succeeded'}")
        end: Json = {"status": "succeeded"}
        if reason and self._closing:
            end = {"status": "failed", "failureReason": SERVER_ENDED}
        elif reason:
            end = {"status": "cancelled" if cancel.told.is_set() else "failed", "failureReason": reason}
        rows, size = sum(w.rows for w in writers.values()), sum(w.bytes for w in writers.values())
        duration = f"PT{time.monotonic() - began:.0f}S"
        self._store.change_job(number, rowsSynced=rows, bytesSynced=size, duration=duration, **end)
        self._running.pop(number, None)

    def _failure(self, job: Json, writers: dict[str, StreamWriter], log: Log, cancel: Cancel) -> str:
        """Sync; returns why it failed, or ''."""
        try:
            self._syncs.sync(job, writers, log, cancel)
        except (SyncFailed, SecretMissing) as error:
            return str(error)
        except Exception as error:  # whatever it is, the job ends as failed, as Airbyte's do
            log(traceback.format_exc())
            return f"{type(error).__name__}: {error}"
        return ""
