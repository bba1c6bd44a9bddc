"""Marks of events: one run for a burst, none for what an active run takes, and a run in doubt."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable
from millrace.events.message import Incoming
from millrace.events.translate import Event, translate
from millrace.gateway.needed import APPEARS, Needed
from millrace.gateway.prefect_api import PrefectApi
from millrace.gateway.prefect_runs import PrefectRuns
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.pushes import MERGED, WEBHOOK, landed, message, of
from tests.support.servers import free_port

SLOT = names.merge_slot("shop", "orders")
PATIENCE_S = 1.0
ORDERS = {"source": "shop", "stream": "orders"}


class Taken:
    """An outbox that keeps the marks of its events; `start` is called for those that need a run, as a trigger is."""

    pause_s = 0.0

    def __init__(self) -> None:
        self.marks: list[str | None] = []
        self.start: Callable[[], None] = lambda: None
        self.is_open = True

    def check(self) -> None:
        if not self.is_open:
            raise ServiceUnavailable("Prefect does not answer")

    async def hand_over(self, event: Event) -> None:
        self.marks.append(event.resource.get(names.RUN_LABEL))
        if self.marks[-1] == "needed":
            self.start()


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with prefect_server(free_port()) as running:
        yield running


def run(flow_run: str, parameters: dict[str, Any], *tags: str, age_s: float = 0) -> dict[str, Any]:
    """A run in a state, as Prefect's API returns it."""
    since = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    return {"state": {"type": flow_run, "timestamp": since}, "parameters": parameters, "tags": list(tags)}


def event(topic: str, sent: Incoming) -> Event:
    translated = translate(topic, sent)
    assert translated
    return translated


def landing(number: int = 0) -> Event:
    return event(names.LAKE_LANDED, landed(message_id=str(number)))


def story(prefect: PrefectServer, steps: Callable[[Needed, Taken], Awaitable[None]]) -> None:
    """Run the steps of a test with a gateway's connection to Prefect."""

    async def go() -> None:
        taken = Taken()
        async with httpx.AsyncClient() as http:
            runs = PrefectRuns(PrefectApi(prefect.url, {}, http, 10), pending_s=600)
            await steps(Needed(taken, runs, PATIENCE_S), taken)

    asyncio.run(go())


def marks(prefect: PrefectServer, *events: Event) -> list[str | None]:
    """Return the marks of events that come at the same time."""
    collected: list[str | None] = []

    async def steps(needed: Needed, taken: Taken) -> None:
        await asyncio.gather(*(needed.hand_over(each) for each in events))
        collected.extend(taken.marks)

    story(prefect, steps)
    return collected


@pytest.mark.parametrize(
    ("runs", "held", "mark"),
    [
        ([], None, "needed"),
        ([run("SCHEDULED", ORDERS)], 0, "active"),
        ([run("PENDING", ORDERS)], 0, "active"),
        ([run("PENDING", ORDERS, age_s=601)], 0, "needed"),
        ([run("RUNNING", ORDERS)], 1, "active"),
        ([run("RUNNING", ORDERS)], 0, "needed"),
        ([run("RUNNING", ORDERS)], None, "needed"),
        ([run("SCHEDULED", ORDERS | {"full_scan": True})], 0, "active"),
        ([run("SCHEDULED", ORDERS | {"stream": "customers"})], 0, "needed"),
        ([run("RUNNING", ORDERS | {"stream": "customers"})], 1, "needed"),
    ],
)
def test_landing_needs_run_unless_one_looks_again(
    prefect: PrefectServer, runs: list[dict[str, Any]], held: int | None, mark: str
) -> None:
    prefect.runs["merge"] = runs
    if held is not None:
        prefect.slots[SLOT] = held
    assert marks(prefect, landing()) == [mark]


@pytest.mark.parametrize(
    ("runs", "held", "mark"),
    [([], 0, "needed"), ([run("SCHEDULED", {})], 0, "active"), ([run("RUNNING", {})], 1, "active")],
)
def test_merge_needs_model_run_unless_one_looks_again(
    prefect: PrefectServer, runs: list[dict[str, Any]], held: int, mark: str
) -> None:
    prefect.runs["model"], prefect.slots[names.MODEL_SLOT] = runs, held
    assert marks(prefect, event(names.WAREHOUSE_MERGED, of(MERGED))) == [mark]


@pytest.mark.parametrize(
    ("runs", "mark"),
    [
        ([], "needed"),
        ([run("RUNNING", {"source": "shop"}, "shop.sync-42")], "active"),
        ([run("SCHEDULED", {"source": "shop"}, "shop.sync-42")], "active"),
        ([run("RUNNING", {"source": "shop"}, "shop.sync-4")], "needed"),
        ([run("SCHEDULED", {"source": "shop"})], "needed"),
        ([run("RUNNING", {"source": "bank"})], "needed"),
    ],
)
def test_ended_sync_needs_run_unless_it_is_watched(
    prefect: PrefectServer, runs: list[dict[str, Any]], mark: str
) -> None:
    prefect.runs["ingest"] = runs
    assert marks(prefect, event(names.AIRBYTE_COMPLETED, message(WEBHOOK))) == [mark]


def test_sync_without_tag_is_asked_about_again(prefect: PrefectServer) -> None:
    prefect.runs["ingest"] = [run("RUNNING", {"source": "shop"})]

    async def steps(needed: Needed, taken: Taken) -> None:
        sent = asyncio.create_task(needed.hand_over(event(names.AIRBYTE_COMPLETED, message(WEBHOOK))))
        await asyncio.sleep(PATIENCE_S / 3)
        assert not sent.done()
        prefect.runs["ingest"] = [run("RUNNING", {"source": "shop"}, "shop.sync-42")]
        await sent
        assert taken.marks == ["active"]

    story(prefect, steps)


def test_run_that_ends_without_a_slot_is_followed_by_another(prefect: PrefectServer) -> None:
    prefect.runs["merge"] = [run("RUNNING", ORDERS)]

    async def steps(needed: Needed, taken: Taken) -> None:
        sent = asyncio.create_task(needed.hand_over(landing()))
        await asyncio.sleep(PATIENCE_S / 3)
        assert not sent.done()
        prefect.runs["merge"] = []
        await sent
        assert taken.marks == ["needed"]

    story(prefect, steps)


def test_burst_starts_one_run(prefect: PrefectServer) -> None:
    async def steps(needed: Needed, taken: Taken) -> None:
        def start() -> None:
            asyncio.get_running_loop().call_later(0.5, prefect.runs.update, {"merge": [run("SCHEDULED", ORDERS)]})

        taken.start = start
        await asyncio.gather(*(needed.hand_over(landing(number)) for number in range(200)))
        assert Counter(taken.marks) == {"needed": 1, "active": 199}

    story(prefect, steps)
    assert prefect.looks < 20


def test_lost_request_is_made_again(prefect: PrefectServer) -> None:
    async def steps(needed: Needed, taken: Taken) -> None:
        loop = asyncio.get_running_loop()
        await needed.hand_over(landing(0))
        began = loop.time()
        await needed.hand_over(landing(1))  # no run came of the first
        assert taken.marks == ["needed", "needed"]
        assert loop.time() - began > min(PATIENCE_S, APPEARS.total_seconds()) / 2

    story(prefect, steps)


def test_run_that_came_and_ended_is_followed_by_another(prefect: PrefectServer) -> None:
    async def steps(needed: Needed, taken: Taken) -> None:
        loop = asyncio.get_running_loop()
        await needed.hand_over(landing(0))
        prefect.ended["merge"], began = [run("COMPLETED", ORDERS)], loop.time()
        await needed.hand_over(landing(1))
        assert taken.marks == ["needed", "needed"]
        assert loop.time() - began < min(PATIENCE_S, APPEARS.total_seconds()) / 2

    story(prefect, steps)


def test_many_active_runs_are_all_read(prefect: PrefectServer) -> None:
    others = [run("SCHEDULED", ORDERS | {"stream": f"s{number}"}) for number in range(450)]
    prefect.runs["merge"] = [*others, run("SCHEDULED", ORDERS)]
    assert marks(prefect, landing()) == ["active"]
    assert prefect.looks == 3


@pytest.mark.parametrize("status", [404, 422, 503])
def test_run_starts_when_prefect_does_not_say(prefect: PrefectServer, status: int) -> None:
    prefect.runs["merge"], prefect.answer_to_looks = [run("SCHEDULED", ORDERS)], status
    assert marks(prefect, landing()) == ["needed"]


def test_other_events_are_passed_on_without_question(prefect: PrefectServer) -> None:
    assert marks(prefect, event(names.INGEST_REQUESTED, message({"source": "shop"}))) == [None]
    assert prefect.looks == 0


def test_open_circuit_asks_nothing(prefect: PrefectServer) -> None:
    async def steps(needed: Needed, taken: Taken) -> None:
        taken.is_open = False
        with pytest.raises(ServiceUnavailable):
            await needed.hand_over(landing())

    story(prefect, steps)
    assert prefect.looks == 0
