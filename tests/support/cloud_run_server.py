"""Cloud Run's REST API (v2) on a port: takes jobs, checks each body strictly by Google's own description, runs nothing.

The description comes with googleapiclient. Also the token endpoint that a service account's key names.
"""

import importlib.resources
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.google_api import Call, Json, listening

AT = "2026-01-01T00:00:00Z"


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
    definitions: Json = field(default_factory=schemas)
    jobs: dict[str, Json] = field(default_factory=dict)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    outcome: str = "CONDITION_SUCCEEDED"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Json]:
        """Return the service's status and body for a request."""
        if path == "/token":
            return 200, {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}
        if path.endswith("/jobs") and method == "POST":
            wrong = errors(body, self.definitions["GoogleCloudRunV2Job"], self.definitions)
            if wrong:
                return 400, {"error": {"code": 400, "message": "; ".join(wrong)}}
            name = f"{path.removeprefix('/v2/')}/{query['jobId'][0]}"
            own = {"name": name, "uid": "u", "generation": "1", "createTime": AT, "updateTime": AT, "etag": "e"}
            ready = {"type": "Ready", "state": "CONDITION_SUCCEEDED"}
            self.jobs[name] = body | own | {"latestCreatedExecution": {}, "terminalCondition": ready}
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
        return (
            (200, self.jobs[name]) if name in self.jobs else (404, {"error": {"code": 404, "message": "no such job"}})
        )


@contextmanager
def cloud_run_server(port: int) -> Iterator[CloudRunServer]:
    """A server that is gone at the end."""
    server = CloudRunServer(port)

    def answer(call: Call) -> tuple[int, Json]:
        server.calls.append((call.method, call.path, call.authorization))
        return server.answer(call.method, call.path, call.query, call.body)

    with listening(port, answer):
        yield server
