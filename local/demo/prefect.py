"""A client of the Prefect server: starts runs, and reads runs, their artifacts and events."""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

FLOWS = ("ingest", "merge", "model", "reconcile")
ACTIVE = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")
ACTION_FAILED = "prefect.automation.action.failed"


@dataclass(frozen=True)
class Run:
    """One flow run of the server."""

    id: str
    flow: str
    name: str
    state: str
    message: str
    started: datetime | None
    ended: datetime | None
    seconds: float

    @property
    def active(self) -> bool:
        """True while the run has not ended."""
        return self.state in ACTIVE

    @property
    def bad(self) -> bool:
        """True when the run failed, crashed or was cancelled."""
        return self.state in ("FAILED", "CRASHED", "CANCELLED")


class RetryUnavailable(httpx.BaseTransport):
    """Repeats requests that are answered with 503: the server's SQLite database may be locked for a moment."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, up to six times."""
        for wait_s in (0.2, 0.5, 1, 2, 4):
            response = self._inner.handle_request(request)
            if response.status_code != 503:
                return response
            response.read()
            time.sleep(wait_s)  # longer each time
        return self._inner.handle_request(request)


class PrefectApi:
    """The server's REST API at `url`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, transport=RetryUnavailable(httpx.HTTPTransport()))
        self._flows: dict[str, str] = {}

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a deployment named `flow/deployment`; return the run's id."""
        deployment_id = self._http.get(f"/deployments/name/{deployment}").raise_for_status().json()["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        run = self._http.post(f"/deployments/{deployment_id}/create_flow_run", json=body).raise_for_status().json()
        return str(run["id"])

    def runs(self, since: datetime) -> list[Run]:
        """Return runs that were due at `since` or later, oldest first, without those that a schedule plans."""
        run_filter = {"expected_start_time": {"after_": since.isoformat()}}
        body = {"flow_runs": run_filter, "sort": "EXPECTED_START_TIME_ASC", "limit": 200}
        runs = self._http.post("/flow_runs/filter", json=body).raise_for_status().json()
        return [self._run(run) for run in runs if not _is_scheduled_by_clock(run)]

    def run(self, run_id: str) -> Run:
        """Return one run."""
        return self._run(self._http.get(f"/flow_runs/{run_id}").raise_for_status().json())

    def _run(self, run: dict[str, Any]) -> Run:
        flow_id = run["flow_id"]
        if flow_id not in self._flows:
            self._flows[flow_id] = self._http.get(f"/flows/{flow_id}").raise_for_status().json()["name"]
        state = run.get("state") or {}
        return Run(
            run["id"],
            self._flows[flow_id],
            run["name"],
            run["state_type"],
            state.get("message") or "",
            _instant(run["start_time"]),
            _instant(run["end_time"]),
            run["total_run_time"],
        )

    def artifacts(self, run_id: str) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of a run's table artifacts, by key."""
        body = {"artifacts": {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["table"]}}, "sort": "UPDATED_DESC"}
        artifacts = self._http.post("/artifacts/filter", json=body).raise_for_status().json()
        tables: dict[str, list[dict[str, Any]]] = {}
        for artifact in reversed(artifacts):
            tables.setdefault(artifact["key"], []).extend(json.loads(artifact["data"]))
        return tables

    def events(self, name: str, since: datetime) -> list[dict[str, Any]]:
        """Return the events of one name since an instant."""
        occurred = {"since": since.isoformat(), "until": "2999-01-01T00:00:00Z"}
        body = {"filter": {"event": {"name": [name]}, "occurred": occurred}, "limit": 50}
        return list(self._http.post("/events/filter", json=body).raise_for_status().json()["events"])


def _is_scheduled_by_clock(run: dict[str, Any]) -> bool:
    return run["state_type"] == "SCHEDULED" and bool(run.get("auto_scheduled"))


def _instant(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value.replace("Z", "+00:00")) if value else None
