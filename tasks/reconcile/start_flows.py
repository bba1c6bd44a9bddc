"""Starts the flows that events should have started, and waits for them."""

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
from millrace.settings import load_settings
from tasks.context import run_id
from tasks.reconcile.find_under_way import SOON, living
from tasks.retries import DELAYS_S, is_transient

POLL_S = 1.0


@task(
    task_run_name="start merges",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def start_merges(streams: list[str], audit: bool = False) -> list[str]:
    """Start a merge per stream (`<source>.<stream>`); a retried run starts none twice. Returns the ids of the runs.

    Raises:
        SettingsError: the flow is not deployed.
    """
    late = {"audit": True} if audit else {}
    given = [dict(zip(("source", "stream"), stream.split("."), strict=True)) for stream in sorted(set(streams))]
    return [_start("merge/merge", ".".join(one.values()), {**one, **late}) for one in given]


@task(
    task_run_name="start model",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def start_model() -> list[str]:
    """Start a model run unless one is living; a retried run starts none twice. Returns its id, if there is one.

    Raises:
        SettingsError: the flow is not deployed.
    """
    with get_client(sync_client=True) as client:
        if any(True for _ in living(client, "model", datetime.now(UTC) + SOON)):
            return []
    return [_start("model/model", "model", {})]


@task(task_run_name="wait for merges", cache_policy=NO_CACHE)
def await_runs(runs: list[str]) -> list[str]:
    """Wait until runs have ended, for `reconcile.wait_s` at most; returns those that have."""
    deadline = time.monotonic() + load_settings().reconcile.wait_s
    ended: list[str] = []
    with get_client(sync_client=True) as client:
        while len(ended) < len(runs):
            ended = [run for run in runs if _is_final(client.read_flow_run(UUID(run)).state)]
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
    return ended


def _is_final(state: Any) -> bool:
    return state is not None and bool(state.is_final())


def _start(deployment: str, what: str, parameters: dict[str, Any]) -> str:
    key = f"reconcile-{run_id()}-{what}"
    try:
        run = run_deployment(deployment, parameters=parameters, timeout=0, idempotency_key=key, as_subflow=False)
    except ObjectNotFound:
        raise SettingsError(f"no deployment {deployment}; run `python -m cli.deploy.deployments`") from None
    return str(run.id)  # type: ignore[union-attr]  # it is not awaited in a task that is not async


def streams_of(found: Iterable[Any]) -> list[str]:
    """Streams that findings ask to merge."""
    return [f"{f.source}.{f.stream}" for f in found if f.stream]
