"""A project and region in; its Dataflow jobs out: find one by name, get or cancel it, read its errors."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import ClientError, GoogleAPICallError, NotFound, RetryError
from google.api_core.retry import Retry, if_transient_error
from google.cloud import dataflow_v1beta3 as api

from millrace.access import credentials, denied, is_denied
from millrace.domain.errors import AccessDenied, DataflowFailed, ServiceUnavailable

TIMEOUT_S = 60.0
ENDED = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED", "STOPPED")
MOST_ERRORS = 3
RETRY = Retry(if_transient_error, initial=0.5, maximum=10, timeout=TIMEOUT_S)


@dataclass(frozen=True)
class Job:
    """A job at the time of the request; `state` is Dataflow's without `JOB_STATE_`."""

    id: str
    name: str
    state: str
    labels: dict[str, str]

    @property
    def ended(self) -> bool:
        """Return whether the state is final."""
        return self.state in ENDED


@dataclass(frozen=True)
class DataflowJobs:
    """The jobs of one project and region; `endpoint` is a server other than Google's.

    Every method raises ServiceUnavailable if Dataflow does not answer, AccessDenied if this process lacks a permission,
    and DataflowFailed if it rejects the request otherwise.
    """

    project: str
    region: str
    endpoint: str = ""

    def find(self, name: str) -> Job | None:
        """Return the active job of that name; Dataflow allows only one."""
        request = api.ListJobsRequest(
            project_id=self.project, location=self.region, filter=api.ListJobsRequest.Filter.ACTIVE, name=name
        )
        jobs = self._call(self._jobs.list_jobs, request, "dataflow.jobs.list")
        return next((_job(job) for job in jobs if job.name == name and not _job(job).ended), None)

    def get(self, job_id: str) -> Job | None:
        """Return a job, or None if it does not exist, or no longer."""
        request = api.GetJobRequest(project_id=self.project, location=self.region, job_id=job_id)
        try:
            return _job(self._jobs.get_job(request, retry=RETRY, timeout=TIMEOUT_S))
        except NotFound:
            return None
        except (GoogleAPICallError, RetryError) as error:
            raise self._failure(error, "dataflow.jobs.get") from error

    def cancel(self, job_id: str) -> None:
        """Request the end of a job; it takes minutes."""
        cancelled = api.Job(requested_state=api.JobState.JOB_STATE_CANCELLED)
        request = api.UpdateJobRequest(project_id=self.project, location=self.region, job_id=job_id, job=cancelled)
        self._call(self._jobs.update_job, request, "dataflow.jobs.cancel")

    def errors(self, job_id: str) -> list[str]:
        """Return error messages of a job; those with a traceback come first."""
        request = api.ListJobMessagesRequest(
            project_id=self.project,
            location=self.region,
            job_id=job_id,
            minimum_importance=api.JobMessageImportance.JOB_MESSAGE_ERROR,
        )
        messages = self._call(self._messages.list_job_messages, request, "dataflow.messages.list")
        texts = dict.fromkeys(m.message_text.strip() for m in messages)
        return sorted(texts, key=lambda text: "Traceback" not in text)[:MOST_ERRORS]

    def console(self, job_id: str) -> str:
        """Return the address of a job's page in the console."""
        return f"https://console.cloud.google.com/dataflow/jobs/{self.region}/{job_id}?project={self.project}"

    def _call(self, method: Any, request: Any, permission: str) -> Any:
        try:
            return method(request, retry=RETRY, timeout=TIMEOUT_S)
        except (GoogleAPICallError, RetryError) as error:
            raise self._failure(error, permission) from error

    def _failure(
        self, error: GoogleAPICallError | RetryError, permission: str
    ) -> AccessDenied | ServiceUnavailable | DataflowFailed:
        where = f"Dataflow in {self.region} of {self.project}"
        if is_denied(error):
            return denied(error, f"projects/{self.project}", permission, self.endpoint)
        if isinstance(error, ClientError) and error.code != 429:
            return DataflowFailed(f"{where} rejected the request: {error.message}")
        return ServiceUnavailable(f"{where} did not answer: {error.message}")

    @cached_property
    def _jobs(self) -> Any:
        return api.JobsV1Beta3Client(**self._client())

    @cached_property
    def _messages(self) -> Any:
        return api.MessagesV1Beta3Client(**self._client())

    def _client(self) -> dict[str, Any]:
        identity = {"credentials": credentials(self.endpoint)}
        if not self.endpoint:
            return identity
        return identity | {"client_options": ClientOptions(api_endpoint=self.endpoint), "transport": "rest"}


def _job(job: Any) -> Job:
    state = api.JobState(job.current_state).name.removeprefix("JOB_STATE_")
    return Job(job.id, job.name, state, dict(job.labels))
