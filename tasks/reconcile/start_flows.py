"""Starts the runs that lost events should have started, and waits for them."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from millrace.domain.errors import SettingsError
from millrace.domain.findings import Gap
from millrace.settings import load_settings
from tasks.context import run_id
from tasks.reconcile.attempt import Attempts
from tasks.reconcile.find_under_way import SOON, active_runs
from tasks.reconcile.find_work import find_unpublished
from tasks.retries import uncached_task

POLL_S = 1.0


@uncached_task(task_run_name="start merges", retries=2)
def start_merges(streams: list[str], full_scan: bool = False) -> list[str]:
    """Start a merge per stream (`<source>.<stream>`), each once per reconcile run; returns the ids of the runs.

    Raises:
        SettingsError: the flow is not deployed.
    """
    runs = []
    for stream_id in sorted(set(streams)):
        source, stream = stream_id.split(".")
        parameters = {"source": source, "stream": stream} | ({"full_scan": True} if full_scan else {})
        runs.append(_start("merge/merge", stream_id, parameters))
    return runs


@uncached_task(task_run_name="start model", retries=2)
def start_model() -> list[str]:
    """Start a model run unless one is active, once per reconcile run; returns its id, or an empty list.

    Raises:
        SettingsError: the flow is not deployed.
    """
    with get_client(sync_client=True) as client:
        if any(True for _ in active_runs(client, "model", datetime.now(UTC) + SOON)):
            return []
    return [_start("model/model", "model", {})]


@uncached_task(task_run_name="start show", retries=2)
def start_show() -> list[str]:
    """Start a run that shows the newest publication, once per reconcile run; returns its id.

    Raises:
        SettingsError: the flow is not deployed.
    """
    return [_start("show/show", "show", {})]


@task(task_run_name="wait for merges", cache_policy=NO_CACHE)
def await_runs(runs: list[str]) -> list[str]:
    """Wait until runs have ended, for `reconcile.wait_s` at most; returns the ended ones."""
    deadline = time.monotonic() + load_settings().reconcile.wait_s
    ended: list[str] = []
    with get_client(sync_client=True) as client:
        while len(ended) < len(runs):
            ended = [run for run in runs if _is_final(client.read_flow_run(UUID(run)).state)]
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
    return ended


def run_merges_and_model(attempt: Attempts, streams: list[str], unpublished: list[Gap], full_scan: bool) -> None:
    """Start merges and wait for them, then start the model when it has work, so that one interval makes marts right."""
    runs = attempt(start_merges, streams, full_scan)
    if (attempt(await_runs, runs) or unpublished) and attempt(find_unpublished):
        attempt(start_model)


def _is_final(state: Any) -> bool:
    return state is not None and bool(state.is_final())


def _start(deployment: str, work: str, parameters: dict[str, Any]) -> str:
    key = f"reconcile-{run_id()}-{work}"
    try:
        run = run_deployment(deployment, parameters=parameters, timeout=0, idempotency_key=key, as_subflow=False)
    except ObjectNotFound:
        raise SettingsError(f"deployment {deployment} does not exist; run `millrace deploy deployments`") from None
    return str(run.id)  # type: ignore[union-attr]  # in a synchronous task it returns the run, not a coroutine


def streams_of(gaps: Iterable[Gap]) -> list[str]:
    """Return the streams of those gaps that a merge closes."""
    return [f"{gap.source}.{gap.stream}" for gap in gaps if gap.stream]
