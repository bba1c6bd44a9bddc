"""Starts a flow by its deployment, and shows its result."""

import json
import os
from time import sleep
from typing import Any
from uuid import UUID

import typer
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import AwaitingRetry

from cli import codes, show
from cli.streams import sources
from millrace.contracts.parameters import check_parameters
from millrace.domain.errors import EventRefused, SettingsError

REJECTED = (409, 422)
POLL_S = 1.0


def run_flow(flow: str, values: dict[str, Any], *, wait: bool) -> None:
    """Start a flow and show its address; with `wait` also its result, with exit code 1 unless it completed.

    Raises:
        SettingsError: the flow is not deployed.
        UnknownStream, EventRefused: a parameter is mistyped; no run is made.
    """
    check_parameters(sources(), values)
    _watch(_start(flow, values), wait=wait)


def retry_run(run_id: str, *, wait: bool) -> None:
    """Let an ended run continue after its last completed step, as Retry in Prefect does; shows it as `run_flow` does.

    Raises:
        EventRefused: there is no such run, it has not ended, or no deployment can start it.
    """
    try:
        identity = UUID(run_id)
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(identity)
            if run.state is None or not run.state.is_final() or run.deployment_id is None:
                state = str(run.state.name).lower() if run.state else "new"
                raise EventRefused(
                    f"run {run.name} is {state}; only a run that ended, of a deployed flow, can be retried"
                )
            client.set_flow_run_state(identity, AwaitingRetry(message="retried by `millrace retry`"), force=True)
    except (ValueError, ObjectNotFound):
        raise EventRefused(f"no run has the id {run_id!r}; `millrace status` names failed runs") from None
    _watch(run, wait=wait)


def _watch(run: Any, *, wait: bool) -> None:
    ui = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    show.line(f"{run.name}: {ui}/runs/flow-run/{run.id}", "soft")
    if not wait:
        return
    state = _ended(run.id)
    name = str(state.name) if state else "unknown"
    completed = state is not None and state.is_completed()
    for description, rows in _tables(run.id):
        show.line(description, "soft")
        if rows:
            show.table(tuple(rows[0]), ([row.get(name) for name in rows[0]] for row in rows))
    message = f": {' '.join(state.message.split())}" if state and state.message else ""
    show.line(f"{run.name} {name.lower()}{message}", "good" if completed else "bad")
    if not completed:
        show.error("the run did not complete; its log is on the page above")
        raise typer.Exit(codes.WRONG)


def _tables(run_id: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return description and rows of each table of a run, oldest first."""
    artifacts = {"flow_run_id": {"any_": [str(run_id)]}, "type": {"any_": ["table"]}}
    with get_client(sync_client=True) as client:
        body = {"artifacts": artifacts, "sort": "UPDATED_DESC"}
        tables = client.request("POST", "/artifacts/filter", json=body).json()
    return [
        (str(table["description"] or table["key"]).replace("**", ""), json.loads(table["data"]))
        for table in reversed(tables)
    ]


def _start(flow: str, values: dict[str, Any]) -> Any:
    try:
        return run_deployment(f"{flow}/{flow}", parameters=values, timeout=0, as_subflow=False)
    except ObjectNotFound:
        raise SettingsError(f"no flow named {flow!r} is deployed; expected one of {', '.join(_deployed())}") from None
    except PrefectHTTPStatusError as error:
        if error.response.status_code in REJECTED:
            raise EventRefused(f"{flow} does not accept {json.dumps(values)}: {_reason(error)}") from None
        raise


def _reason(error: PrefectHTTPStatusError) -> str:
    try:
        return str(error.response.json().get("detail") or error.response.text)
    except ValueError:
        return str(error.response.text)


def _deployed() -> list[str]:
    with get_client(sync_client=True) as client:
        return sorted(d.name for d in client.read_deployments()) or ["none: run `millrace deploy`"]


def _ended(run_id: Any) -> Any:
    """Wait for a run's end; return its state."""
    with get_client(sync_client=True) as client:
        while (state := client.read_flow_run(run_id).state) is None or not state.is_final():
            sleep(POLL_S)
    return state
