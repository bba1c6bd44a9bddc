"""Cloud Run's REST API (v2) on a port: takes jobs, checks each body strictly by Google's own description, runs nothing.

The description comes with googleapiclient. Each call needs the bearer's permission in the table of rights; this is
decided before a job's existence. A job's account must be able to read the secrets that the job names.
"""

import importlib.resources
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.servers.rights.policy import Policy, Required, bearer_email, first_denied
from tests.support.google_api import Call, Json, listening

AT = "2026-01-01T00:00:00Z"
JOB, ACT_AS = "GoogleCloudRunV2Job", "iam.serviceAccounts.actAs"


def schemas() -> Json:
    """Google's description of Cloud Run's objects."""
    folder = importlib.resources.files("googleapiclient") / "discovery_cache" / "documents"
    definitions: Json = json.loads((folder / "run.v2.json").read_text())["schemas"]
    return definitions


def errors(value: Any, schema: Json, definitions: Json, where: str = "job") -> list[str]:
    """Return the faults of a body: unknown fields, and values of another type."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"]]
    kind = schema.get("type")
    if kind == "object":
        if not isinstance(value, dict):
            return [f"{where}: expected an object, got {value!r}"]
        fields, rest = schema.get("properties", {}), schema.get("additionalProperties")
        wrong = [f"{where}.{key}: no such field" for key in value if key not in fields and rest is None]
        known_fields = ((k, v) for k, v in value.items() if k in fields)
        return wrong + [e for k, v in known_fields for e in errors(v, fields[k], definitions, f"{where}.{k}")]
    if kind == "array":
        if not isinstance(value, list):
            return [f"{where}: expected a list, got {value!r}"]
        return [e for i, item in enumerate(value) for e in errors(item, schema["items"], definitions, f"{where}[{i}]")]
    kinds = {"string": str, "boolean": bool, "integer": int, "number": float}
    if value is None or not isinstance(value, kinds[str(kind)]):
        return [f"{where}: expected {kind}, got {value!r}"]
    return [] if value in schema.get("enum", [value]) else [f"{where}: {value!r} is none of {schema['enum']}"]


@dataclass
class CloudRunServer:
    """Jobs that were taken, by name; `outcome` is how each execution ends."""

    port: int
    policy: Policy
    definitions: Json = field(default_factory=schemas)
    jobs: dict[str, Json] = field(default_factory=dict)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    outcome: str = "CONDITION_SUCCEEDED"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def denial(self, call: Call) -> tuple[int, Json] | None:
        """Return Google's 401 without a bearer, its 400 for a wrong body, or its 403 for a missing permission."""
        try:
            email = bearer_email(call.authorization)
        except ValueError:
            email = ""
        if not email:
            return 401, error(401, "UNAUTHENTICATED", "Request is missing required authentication credential.")
        if is_creation(call) and (wrong := errors(call.body, self.definitions[JOB], self.definitions)):
            return 400, error(400, "INVALID_ARGUMENT", "; ".join(wrong))
        if denied := first_denied(self.policy, email, required(call)):
            words = (
                f"Permission '{denied.permission}' denied on resource '{denied.resource}' (or resource may not exist)."
            )
            if denied.permission == ACT_AS:
                account = denied.resource.rpartition("/")[2]
                words = (
                    f"Permission 'iam.serviceaccounts.actAs' denied on service account {account} (or it may not exist)."
                )
            return 403, error(403, "PERMISSION_DENIED", words)
        return None

    def create(self, name: str, body: Json) -> None:
        """Keep a job; it gets ready if its account can read its secrets."""
        own = {"name": name, "uid": "u", "generation": "1", "createTime": AT, "updateTime": AT, "etag": "e"}
        ready = {"type": "Ready", "state": "CONDITION_SUCCEEDED"}
        project, task = "/".join(name.split("/")[:2]), body["template"]["template"]
        for secret in secrets_of(task):
            resource = f"{project}/secrets/{secret}"
            if not self.policy.allows(task["serviceAccount"], "secretmanager.versions.access", resource):
                message = f"Permission denied on secret: {resource}/versions/latest for {task['serviceAccount']}"
                ready = {
                    "type": "Ready",
                    "state": "CONDITION_FAILED",
                    "reason": "SECRETS_ACCESS_CHECK_FAILED",
                    "message": message,
                }
        self.jobs[name] = body | own | {"latestCreatedExecution": {}, "terminalCondition": ready}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Json]:
        """Return the service's status and body for a request."""
        if path.endswith("/jobs") and method == "POST":
            name = f"{path.removeprefix('/v2/')}/{query['jobId'][0]}"
            self.create(name, body)
            return 200, {"name": f"{name}/operations/1"}
        name = path.removeprefix("/v2/").removesuffix(":run")
        if path.endswith(":run"):
            return 200, {"name": f"{name}/operations/2", "metadata": {"name": f"{name}/executions/1"}}
        if path.endswith("/executions"):
            return 200, {"executions": []}
        if "/executions/" in path:
            job = name.split("/executions/")[0]
            ended = {"type": "Completed", "state": self.outcome, "message": "as the test says"}
            return 200, {
                "name": name,
                "uid": "x",
                "generation": "1",
                "createTime": AT,
                "startTime": AT,
                "completionTime": AT,
                "job": job,
                "parallelism": 1,
                "taskCount": 1,
                "template": {},
                "logUri": "https://logs",
                "etag": "e",
                "conditions": [ended],
            }
        return (200, self.jobs[name]) if name in self.jobs else (404, error(404, "NOT_FOUND", "no such job"))


def error(code: int, status: str, message: str) -> Json:
    """Return the body of an error, as Google's APIs word it."""
    return {"error": {"code": code, "message": message, "status": status}}


def is_creation(call: Call) -> bool:
    """Return True for a call that creates a job."""
    return call.method == "POST" and call.path.endswith("/jobs")


def required(call: Call) -> list[Required]:
    """Return what a call needs, in Google's order."""
    resource = call.path.removeprefix("/v2/").removesuffix(":run")
    if is_creation(call):
        project, account = "/".join(resource.split("/")[:2]), call.body["template"]["template"]["serviceAccount"]
        job = f"{resource}/{call.query['jobId'][0]}"
        return [("run.jobs.create", job), (ACT_AS, f"{project}/serviceAccounts/{account}")]
    if call.path.endswith(":run"):
        return [("run.jobs.runWithOverrides" if call.body.get("overrides") else "run.jobs.run", resource)]
    if resource.endswith("/executions"):
        return [("run.executions.list", resource.removesuffix("/executions"))]
    kind = "executions" if "/executions/" in resource else "jobs"
    return [(f"run.{kind}.{'delete' if call.method == 'DELETE' else 'get'}", resource)]


def secrets_of(task: Json) -> list[str]:
    """Return the secrets that the variables of a task name."""
    variables = [e for container in task["containers"] for e in container.get("env", [])]
    return [e["valueSource"]["secretKeyRef"]["secret"] for e in variables if "valueSource" in e]


@contextmanager
def cloud_run_server(port: int, rights: Path) -> Iterator[CloudRunServer]:
    """A server that enforces a file of rights, and is gone at the end."""
    server = CloudRunServer(port, Policy.load(rights))

    def answer(call: Call) -> tuple[int, Json]:
        server.calls.append((call.method, call.path, call.authorization))
        return server.denial(call) or server.answer(call.method, call.path, call.query, call.body)

    with listening(port, answer):
        yield server
