"""Questions about active runs and slots in, Prefect's answers out."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.domain.errors import ServiceUnavailable
from millrace.gateway.prefect_api import PrefectApi

PAGE = 200  # Prefect's own limit
SOON = timedelta(seconds=10)
ACTIVE = ("SCHEDULED", "PENDING", "RUNNING")


@dataclass(frozen=True)
class Run:
    """A run of a flow; `running` is false before it starts, and after its end."""

    running: bool
    parameters: dict[str, Any]
    tags: frozenset[str]


class PrefectRuns:
    """The flow runs of a Prefect API; a run that is pending for longer than `pending_s` has lost its worker."""

    def __init__(self, api: PrefectApi, pending_s: float) -> None:
        self._api, self._pending = api, timedelta(seconds=pending_s)

    async def active(self, flow: str) -> list[Run]:
        """Return the runs of a flow that are running, pending, or due within 10 seconds.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, or rejected the query.
        """
        now = datetime.now(UTC)
        due = {"expected_start_time": {"before_": (now + SOON).isoformat()}}
        runs = await self._read(flow, due | {"state": {"type": {"any_": list(ACTIVE)}}})
        return [_as_run(run) for run in runs if not self._is_stuck(run, now)]

    async def since(self, flow: str, instant: datetime) -> list[Run]:
        """Return the runs of a flow that were to start since an instant, in whatever state they are.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, or rejected the query.
        """
        return [
            _as_run(run) for run in await self._read(flow, {"expected_start_time": {"after_": instant.isoformat()}})
        ]

    async def holds_slot(self, slot: str) -> bool:
        """Return True while a run holds a slot; False also for one that is not registered.

        Raises:
            ServiceUnavailable: Prefect did not answer in time.
        """
        answer = await self._api.request("GET", f"/v2/concurrency_limits/{slot}")
        return bool(answer.is_success and answer.json()["active_slots"] > 0)

    async def _read(self, flow: str, criteria: dict[str, Any]) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = []
        while True:
            query = {"flows": {"name": {"any_": [flow]}}, "flow_runs": criteria, "limit": PAGE, "offset": len(runs)}
            answer = await self._api.post("/flow_runs/filter", query)
            if not answer.is_success:
                raise ServiceUnavailable(f"Prefect at {self._api.url} rejected a query of runs: {answer.status_code}")
            runs += (page := answer.json())
            if len(page) < PAGE:
                return runs

    def _is_stuck(self, run: dict[str, Any], now: datetime) -> bool:
        since = datetime.fromisoformat(run["state"]["timestamp"])
        return run["state"]["type"] == "PENDING" and now - since > self._pending


def _as_run(run: dict[str, Any]) -> Run:
    return Run(run["state"]["type"] == "RUNNING", run["parameters"], frozenset(run["tags"]))
