"""Runs the steps of a batch on Dataflow: submits them once, goes on where a job is, waits, and says how it ended.

A job bears its batch's name, of which Dataflow lets one be active, and a label with the digest of what it was given.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from beam_job.engines.dataflow_jobs import DataflowJobs, Job
from beam_job.engines.options import ARGUMENTS_LABEL, ATTEMPT_LABEL, job_name
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Batch
from millrace.domain.errors import DataflowFailed, ServiceUnavailable
from millrace.lake.store import Lake, ObjectMissing

log = logging.getLogger(__name__)

Submit = Callable[[StreamContract, dict[int, str], str, str], str]


@dataclass
class DataflowRun:
    """One batch on Dataflow, over all the rounds that its staging takes.

    `submit` gives the steps to Dataflow with a digest and the attempt as labels, and returns the job's id.
    """

    jobs: DataflowJobs
    lake: Lake
    batch: Batch
    submit: Submit
    run_id: str
    poll_s: float
    _job_id: str = field(default="", init=False)

    def resumes(self, known: StreamContract, rejected: dict[int, str]) -> str:
        """Attempt of a job for just this that is under way or done; one for something else is cancelled first."""
        wanted = arguments(self.batch, known, rejected)
        recorded = read_record(self.lake, self.batch.source, self.batch.stream)
        if recorded.get("arguments") == wanted and recorded.get("batch_id") == self.batch.id:
            there = self.jobs.get(recorded["job_id"])
            if there and self._is_of_use(there):
                return self._adopt(there, wanted)
        active = self.jobs.find(job_name(self.batch.id))
        if active and active.labels.get(ARGUMENTS_LABEL) == wanted and self._is_of_use(active):
            return self._adopt(active, wanted)
        if active:
            self.jobs.cancel(active.id)
            self._await(active.id)
        self._job_id = ""
        return ""

    def _is_of_use(self, job: Job) -> bool:
        """Whether a job's files are, or will be, there; a version without attempts gave its jobs no such label."""
        attempt = job.labels.get(ATTEMPT_LABEL)
        if not attempt:
            return False
        return not job.ended or (
            job.state == "DONE" and any(self.lake.list(names.staging_prefix(self.batch.id, attempt)))
        )

    def _adopt(self, job: Job, wanted: str) -> str:
        self._job_id = job.id
        self._record(wanted)
        self._tell("dataflow.adopted", state=job.state)
        return job.labels[ATTEMPT_LABEL]

    def __call__(self, known: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        """Submit the steps unless a job was adopted, and wait until it is done.

        Raises:
            DataflowFailed: Dataflow refused the job, or it ended otherwise than done.
            ServiceUnavailable: Dataflow does not answer; the next try goes on with the same job.
        """
        if not self._job_id:
            wanted = arguments(self.batch, known, rejected)
            self._job_id = self._submit(known, rejected, wanted, attempt)
            self._record(wanted)
            self._tell("dataflow.submitted")
        ended = self._await(self._job_id)
        self._tell("dataflow.ended", state=ended.state)
        if ended.state != "DONE":
            raise DataflowFailed(self._why(ended))

    def _submit(self, known: StreamContract, rejected: dict[int, str], wanted: str, attempt: str) -> str:
        from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError
        from google.api_core.exceptions import ClientError, Conflict, GoogleAPICallError

        try:
            return self.submit(known, rejected, wanted, attempt)
        except (DataflowJobAlreadyExistsError, Conflict) as error:
            raise ServiceUnavailable(
                f"another process gave batch {self.batch.id} to Dataflow meanwhile; the next try adopts its job"
            ) from error
        except ClientError as error:
            raise DataflowFailed(f"Dataflow refused batch {self.batch.id}: {error.message}") from error
        except GoogleAPICallError as error:
            raise ServiceUnavailable(f"Dataflow did not take batch {self.batch.id}: {error.message}") from error

    def _await(self, job_id: str) -> Job:
        """The job when it has ended."""
        while True:
            job = self.jobs.get(job_id)
            if job is None:
                raise DataflowFailed(f"Dataflow does not know job {job_id} of batch {self.batch.id}; run merge again")
            if job.ended:
                return job
            time.sleep(self.poll_s)  # Dataflow tells no one when a job ends

    def _why(self, job: Job) -> str:
        said = " | ".join(self.jobs.errors(job.id)) or "Dataflow gives no reason"
        how = {"FAILED": "failed", "CANCELLED": "was cancelled"}.get(job.state, f"ended as {job.state}")
        return f"Dataflow job {job.name} {how}: {said[:2000]} — {self.jobs.console(job.id)}"

    def _record(self, wanted: str) -> None:
        record = {"batch_id": self.batch.id, "job_id": self._job_id, "arguments": wanted, "run_id": self.run_id}
        self.lake.write(names.dataflow_job_path(self.batch.source, self.batch.stream), json.dumps(record).encode())

    def _tell(self, event: str, **more: object) -> None:
        fields = {"batch_id": self.batch.id, "job_id": self._job_id, "console": self.jobs.console(self._job_id)} | more
        log.info("%s: %s", event, fields["console"], extra={"event": event, "fields": fields})


def arguments(batch: Batch, known: StreamContract, rejected: dict[int, str]) -> str:
    """Digest of all that a job's work depends on, as Dataflow takes labels."""
    given = [batch.model_dump_json(), known.model_dump_json(), sorted(rejected)]
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()[:32]


def read_record(lake: Lake, source: str, stream: str) -> dict[str, Any]:
    """The job of a stream that was submitted last; empty when there was none."""
    try:
        return dict(json.loads(lake.read(names.dataflow_job_path(source, stream))))
    except ObjectMissing:
        return {}


def cancel_job(jobs: DataflowJobs, lake: Lake, source: str, stream: str, run_id: str) -> bool:
    """Cancel the job that a run waits for; False when it waits for none, or it has ended."""
    record = read_record(lake, source, stream)
    if record.get("run_id") != run_id:
        return False
    job = jobs.get(record["job_id"])
    if job is None or job.ended:
        return False
    jobs.cancel(job.id)
    fields = {"batch_id": record["batch_id"], "job_id": job.id, "console": jobs.console(job.id)}
    log.warning("dataflow.cancelled", extra={"event": "dataflow.cancelled", "fields": fields})
    return True
