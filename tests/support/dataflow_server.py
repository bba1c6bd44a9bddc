"""Dataflow's REST API on a port: keeps jobs, refuses a second of a name, and runs them or ends them as a test says.

A job that runs is the pipeline that the client staged: read from the storage server and executed by Beam in process.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from local.servers.rights.policy import Policy, bearer_email, first_denied
from tests.support.google_api import Call, Json, listening

CANCELLED = 5  # clients send enums by number
ENDED = ("JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


@dataclass
class DataflowServer:
    """Jobs by id; `refuses` is a status that every call is answered with."""

    port: int
    jobs: dict[str, Json] = field(default_factory=dict)
    messages: dict[str, list[str]] = field(default_factory=dict)
    refuses: int = 0
    conflict_status: int = 200
    lock: threading.Lock = field(default_factory=threading.Lock)
    policy: Policy | None = None

    @property
    def url(self) -> str:
        """Beam speaks REST to an endpoint that has this word in it."""
        return f"http://localhost:{self.port}"

    @property
    def states(self) -> list[str]:
        return [job["currentState"].removeprefix("JOB_STATE_") for job in self.jobs.values()]

    def active(self, name: str) -> Json | None:
        return next((j for j in self.jobs.values() if j["name"] == name and j["currentState"] not in ENDED), None)

    def create(self, job: Json) -> tuple[int, Json]:
        """Take a job; one of its name that is active is answered in its stead, as Dataflow does, or with 409."""
        with self.lock:
            if running := self.active(job["name"]):
                return (self.conflict_status, _error(409, "exists")) if self.conflict_status >= 400 else (200, running)
            created = job | {"id": f"2026-01-01_{len(self.jobs) + 1:02}", "currentState": "JOB_STATE_RUNNING"}
            self.jobs[created["id"]] = created
            return 200, created

    def end(self, job_id: str, state: str, *messages: str) -> None:
        with self.lock:
            self.messages[job_id] = list(messages)
            self.jobs[job_id]["currentState"] = f"JOB_STATE_{state}"

    def denial(self, call: Call) -> tuple[int, Json] | None:
        """Return Dataflow's 403 for what the bearer may not, in the words of its guide to errors."""
        if self.policy is None:
            return None
        email, project = bearer_email(call.authorization), f"projects/{self.policy.project}"
        jobs = call.path.rstrip("/").endswith("/jobs")
        creates = jobs and call.method == "POST"
        action = "create" if creates else "list" if jobs else "cancel" if call.method == "PUT" else "get"
        kind = "messages.list" if call.path.endswith("/messages") else f"jobs.{action}"
        required = [(f"dataflow.{kind}", project)]
        worker = str(call.body.get("environment", {}).get("serviceAccountEmail", ""))
        if creates:
            required.append(("iam.serviceAccounts.actAs", f"{project}/serviceAccounts/{worker}"))
        denied = first_denied(self.policy, email, required)
        if denied is None:
            return None
        words = f"(1f2e3d): Permission '{denied.permission}' denied on project: '{self.policy.project}'"
        if denied.permission.startswith("iam."):
            words = f"(1f2e3d): Current user cannot act as service account {worker}."
        return 403, {"error": {"code": 403, "message": words, "status": "PERMISSION_DENIED"}}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Json]:
        """Return the service's status and body for a request."""
        if self.refuses:
            return self.refuses, _error(self.refuses, "the test says so")
        *_, last = parts = path.strip("/").split("/")
        if last == "jobs" and method == "POST":
            return self.create(body)
        if last == "jobs":
            name = query.get("name", [""])[0]
            return 200, {
                "jobs": [j for j in self.jobs.values() if j["name"] == name and j["currentState"] not in ENDED]
            }
        job = self.jobs.get(parts[parts.index("jobs") + 1])
        if job is None:
            return 404, _error(404, "no such job")
        if last == "messages":
            texts = self.messages.get(job["id"], [])
            return 200, {
                "jobMessages": [
                    {
                        "id": str(n),
                        "time": "2026-01-01T00:00:00Z",
                        "messageText": text,
                        "messageImportance": "JOB_MESSAGE_ERROR",
                    }
                    for n, text in enumerate(texts)
                ]
            }
        if method == "PUT" and body.get("requestedState") in (CANCELLED, "JOB_STATE_CANCELLED"):
            self.end(job["id"], "CANCELLED")
        return 200, job


def _error(code: int, message: str) -> Json:
    return {
        "error": {"code": code, "message": message, "status": {404: "NOT_FOUND", 409: "ALREADY_EXISTS"}.get(code, "")}
    }


@contextmanager
def dataflow_server(port: int) -> Iterator[DataflowServer]:
    """A server that is gone at the end."""
    server = DataflowServer(port)

    def answer(call: Call) -> tuple[int, Json]:
        return server.denial(call) or server.answer(call.method, call.path, call.query, call.body)

    with listening(port, answer):
        yield server


def execute(job: Json) -> None:
    """Run the pipeline that a job's client staged, in this process."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
    from google.cloud import storage

    from millrace.access import credentials

    identity = credentials(os.environ["STORAGE_EMULATOR_HOST"])
    options = job["environment"]["sdkPipelineOptions"]["options"]
    bucket, _, name = options["pipelineUrl"].removeprefix("gs://").partition("/")
    staged = storage.Client("test", credentials=identity).bucket(bucket).blob(name).download_as_bytes()
    pipeline = beam_runner_api_pb2.Pipeline.FromString(staged)
    for environment in pipeline.components.environments.values():
        environment.urn = "beam:env:embedded_python:v1"
        environment.ClearField("payload")
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()
