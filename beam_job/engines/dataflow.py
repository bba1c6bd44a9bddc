"""A batch in, its steps run as one Dataflow job, which a later run adopts, and its reports in the lake out.

A job has the name of its batch, so that Dataflow runs only one at a time, and a label with the digest of its arguments.
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
from millrace.access import denied, is_denied
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Batch
from millrace.domain.errors import AccessDenied, DataflowFailed, ObjectMissing, ServiceUnavailable
from millrace.lake.store import Lake
from millrace.observability.events import log_event

log = logging.getLogger(__name__)

Submit = Callable[[StreamContract, dict[int, str], str, str], str]


@dataclass
class DataflowRun:
    """One batch on Dataflow, for all attempts that its staging takes.

    `submit` submits the steps with the digest of the arguments and the attempt as labels, and returns the job's id.
    """

    jobs: DataflowJobs
    lake: Lake
    batch: Batch
    submit: Submit
    run_id: str
    poll_s: float
    _job_id: str = field(default="", init=False)

    def resumes(self, contract: StreamContract, rejected: dict[int, str]) -> str:
        """Return the attempt of an active or finished job with the same arguments; a job with others is cancelled."""
        digest = arguments(self.batch, contract, rejected)
        recorded = read_record(self.lake, self.batch.source, self.batch.stream)
        if recorded.get("arguments") == digest and recorded.get("batch_id") == self.batch.id:
            job = self.jobs.get(recorded["job_id"])
            if job and self._is_usable(job):
                return self._adopt(job, digest)
        active = self.jobs.find(job_name(self.batch.id))
        if active and active.labels.get(ARGUMENTS_LABEL) == digest and self._is_usable(active):
            return self._adopt(active, digest)
        if active:
            self.jobs.cancel(active.id)
            self._await(active.id)
        self._job_id = ""
        return ""

    def _is_usable(self, job: Job) -> bool:
        """Return whether a job's files exist or will exist; jobs of versions without attempts lack the label."""
        attempt = job.labels.get(ATTEMPT_LABEL)
        if not attempt:
            return False
        return not job.ended or (
            job.state == "DONE" and any(self.lake.list(names.staging_prefix(self.batch.id, attempt)))
        )

    def _adopt(self, job: Job, digest: str) -> str:
        self._job_id = job.id
        self._record(digest)
        self._log("dataflow.adopted", state=job.state)
        return job.labels[ATTEMPT_LABEL]

    def __call__(self, contract: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        """Submit the steps unless a job was adopted, and wait until it ends.

        Raises:
            AccessDenied: this process may not submit the job, or not stage its files.
            DataflowFailed: Dataflow rejected the job, or the job did not succeed.
            ServiceUnavailable: Dataflow does not answer; the next try adopts the same job.
        """
        if not self._job_id:
            digest = arguments(self.batch, contract, rejected)
            self._job_id = self._submit(contract, rejected, digest, attempt)
            self._record(digest)
            self._log("dataflow.submitted")
        ended = self._await(self._job_id)
        self._log("dataflow.ended", state=ended.state)
        if ended.state != "DONE":
            raise DataflowFailed(self._failure(ended))

    def _submit(self, contract: StreamContract, rejected: dict[int, str], digest: str, attempt: str) -> str:
        from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError
        from google.api_core.exceptions import ClientError, Conflict, Forbidden, GoogleAPICallError

        try:
            return self.submit(contract, rejected, digest, attempt)
        except (DataflowJobAlreadyExistsError, Conflict) as error:
            raise ServiceUnavailable(
                f"another process submitted batch {self.batch.id} to Dataflow; the next try adopts its job"
            ) from error
        except Forbidden as error:
            raise denied(error, f"projects/{self.jobs.project}", "dataflow.jobs.create", self.jobs.endpoint) from error
        except OSError as error:  # the SDK's own, without the client's, for files that it can't stage
            raise self._not_staged(error) from error
        except ClientError as error:
            raise DataflowFailed(f"Dataflow rejected batch {self.batch.id}: {error.message}") from error
        except GoogleAPICallError as error:
            raise ServiceUnavailable(f"Dataflow did not accept batch {self.batch.id}: {error.message}") from error

    def _not_staged(self, error: OSError) -> AccessDenied | DataflowFailed:
        """Return the platform's error for files of a job that could not be written to the temporary location."""
        cause = error.__cause__ or error.__context__
        if isinstance(cause, Exception) and is_denied(cause):
            return denied(cause, self.lake.url, "storage.buckets.get", self.lake.endpoint)
        return DataflowFailed(f"the files of the job of batch {self.batch.id} can't be staged: {error}")

    def _await(self, job_id: str) -> Job:
        """Return the job after it has ended."""
        while True:
            job = self.jobs.get(job_id)
            if job is None:
                raise DataflowFailed(f"Dataflow has no job {job_id} of batch {self.batch.id}; run the merge again")
            if job.ended:
                return job
            time.sleep(self.poll_s)  # Dataflow sends no notification when a job ends

    def _failure(self, job: Job) -> str:
        errors = " | ".join(self.jobs.errors(job.id)) or "Dataflow gives no reason"
        outcome = {"FAILED": "failed", "CANCELLED": "was cancelled"}.get(job.state, f"ended as {job.state}")
        return f"Dataflow job {job.name} {outcome}: {errors[:2000]} — {self.jobs.console(job.id)}"

    def _record(self, digest: str) -> None:
        record = {"batch_id": self.batch.id, "job_id": self._job_id, "arguments": digest, "run_id": self.run_id}
        self.lake.write(names.dataflow_job_path(self.batch.source, self.batch.stream), json.dumps(record).encode())

    def _log(self, event: str, **fields: object) -> None:
        console, batch_id = self.jobs.console(self._job_id), self.batch.id
        log_event(log, logging.INFO, event, console, batch_id=batch_id, job_id=self._job_id, console=console, **fields)


def arguments(batch: Batch, contract: StreamContract, rejected: dict[int, str]) -> str:
    """Return a digest of all arguments of a job, as the value of a label."""
    values = [batch.model_dump_json(), contract.model_dump_json(), sorted(rejected)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def read_record(lake: Lake, source: str, stream: str) -> dict[str, Any]:
    """Return the record of the job that was submitted last for a stream; empty if there was none."""
    try:
        return dict(json.loads(lake.read(names.dataflow_job_path(source, stream))))
    except ObjectMissing:
        return {}


def cancel_job(jobs: DataflowJobs, lake: Lake, source: str, stream: str, run_id: str) -> bool:
    """Cancel the job that a run waits for; return False if the run waits for none, or the job has ended."""
    record = read_record(lake, source, stream)
    if record.get("run_id") != run_id:
        return False
    job = jobs.get(record["job_id"])
    if job is None or job.ended:
        return False
    jobs.cancel(job.id)
    batch_id, console = record["batch_id"], jobs.console(job.id)
    log_event(log, logging.WARNING, "dataflow.cancelled", batch_id=batch_id, job_id=job.id, console=console)
    return True
