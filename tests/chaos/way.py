"""The way from the source to the marts as it is under chaos: days of data, by events and the schedule alone."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx

from local.demo.airport_ops.check import compare
from local.demo.airport_ops.replay import advance, day
from local.demo.day import is_settled
from local.demo.prefect import ACTIVE
from local.stack.local_stack import PROJECT
from millrace.domain.errors import MillraceError
from tests.e2e.stack import Stack


def topic_path(name: str) -> str:
    return f"projects/{PROJECT}/topics/{name}"


def subscription_path(name: str) -> str:
    return f"projects/{PROJECT}/subscriptions/{name}"


def next_day(stack: Stack) -> int:
    """Replay one more day in the source; returns its number."""
    number = day(stack.local.database) + 1
    advance(stack.local.database, number)
    return number


def settled(stack: Stack) -> bool:
    """Return True when lake, ledger and marts agree; False while one of them is unavailable."""
    try:
        return is_settled(stack.platform)
    except (MillraceError, OSError):
        return False


def marts_are_right(stack: Stack, number: int) -> bool:
    """Return True when every figure of the marts equals the independent computation."""
    return stack.local.marts.exists() and compare(stack.local.marts, number).differences == ()


def active_runs(stack: Stack) -> list[dict[str, Any]]:
    """Runs that have not ended, but for those that the clock plans."""
    states = {"state": {"type": {"any_": list(ACTIVE)}}}
    runs = stack.http.post("/flow_runs/filter", json={"flow_runs": states}).raise_for_status().json()
    return [run for run in runs if run["state_type"] != "SCHEDULED" or not run["auto_scheduled"]]


def begun_runs(stack: Stack, flow: str, since: datetime) -> list[dict[str, Any]]:
    """Runs of a flow that began since an instant."""
    begun = {"start_time": {"after_": since.isoformat()}}
    body = {"flow_runs": begun, "flows": {"name": {"any_": [flow]}}, "limit": 200}
    return list(stack.http.post("/flow_runs/filter", json=body).raise_for_status().json())


def reconcile_every(stack: Stack, seconds: float) -> None:
    """Let the schedule reconcile so often; it is every quarter of an hour elsewhere."""
    deployment = stack.http.get("/deployments/name/reconcile/reconcile").raise_for_status().json()
    (schedule,) = deployment["schedules"]
    changed = {"schedule": {"interval": seconds}, "active": True}
    stack.http.patch(f"/deployments/{deployment['id']}/schedules/{schedule['id']}", json=changed).raise_for_status()


def start_ingest(stack: Stack, limit_s: float = 120) -> None:
    """Start a sync, as the clock does; it waits for a server that is being started again."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            stack.platform.api.start("ingest/ingest", {"source": "airport_ops"})
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress a client's errors about a server that was killed."""
    with contextlib.suppress(httpx.HTTPError, MillraceError, OSError):
        yield
