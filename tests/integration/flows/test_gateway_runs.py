"""What the gateway asks a real Prefect: which runs are active, which runs came since, and whether a slot is held."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Completed, Pending, Running, Scheduled, State

from millrace.gateway.prefect_api import PrefectApi
from millrace.gateway.prefect_runs import PrefectRuns
from tests.support.flow_environment import FlowEnvironment

T = TypeVar("T")
SLOT = "gateway-runs.shop.orders"


@flow(name="gateway-runs")
def of_test(number: int) -> None:
    """A flow whose runs only exist in Prefect."""


def asked(question: Callable[[PrefectRuns], Awaitable[T]], pending_s: float = 600) -> T:
    """Return the answer of the harness's Prefect."""

    async def ask() -> T:
        async with httpx.AsyncClient() as http:
            return await question(PrefectRuns(PrefectApi(PREFECT_API_URL.value(), {}, http, 30), pending_s))

    return asyncio.run(ask())


def test_active_runs_are_those_that_still_take_work(environment: FlowEnvironment) -> None:
    began, now = datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC)
    states: list[State[Any]] = [
        Scheduled(scheduled_time=now),
        Scheduled(scheduled_time=now + timedelta(minutes=5)),
        Pending(),
        Running(),
        Completed(),
        Cancelled(),
    ]
    with get_client(sync_client=True) as client:
        for number, state in enumerate(states):
            client.create_flow_run(of_test, parameters={"number": number}, state=state, tags=[f"tag-{number}"])
    active = asked(lambda runs: runs.active("gateway-runs"))
    assert sorted((run.parameters["number"], run.running) for run in active) == [(0, False), (2, False), (3, True)]
    assert {tag for run in active for tag in run.tags} == {"tag-0", "tag-2", "tag-3"}
    stuck = asked(lambda runs: runs.active("gateway-runs"), pending_s=0)
    assert sorted(run.parameters["number"] for run in stuck) == [0, 3]
    assert {run.parameters["number"] for run in asked(lambda runs: runs.since("gateway-runs", began))} == set(range(6))
    assert asked(lambda runs: runs.since("gateway-runs", now + timedelta(hours=1))) == []
    assert asked(lambda runs: runs.active("no-such-flow")) == []


def test_slot_is_held_while_a_run_occupies_it(environment: FlowEnvironment) -> None:
    assert not asked(lambda runs: runs.holds_slot(SLOT)), "it is not registered"
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=SLOT, limit=1))
    assert not asked(lambda runs: runs.holds_slot(SLOT))
    with concurrency(SLOT, occupy=1, strict=True):
        assert asked(lambda runs: runs.holds_slot(SLOT))
    assert not asked(lambda runs: runs.holds_slot(SLOT))
