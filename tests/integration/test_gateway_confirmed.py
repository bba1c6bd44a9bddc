"""Requests for a sync and rotated secrets: they are answered once Prefect's database has their event, and sent once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest

from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable
from millrace.events.translate import Event, translate
from millrace.gateway.backlog import LONGEST_QUESTION
from millrace.gateway.confirmed import BETWEEN_S, CONFIRMED, Confirmed
from millrace.gateway.outbox import Circuit, Outbox
from millrace.gateway.prefect_api import PrefectApi
from millrace.gateway.prefect_events import PrefectEvents
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.pushes import landed, message
from tests.support.servers import free_port

PATIENCE_S = 3.0


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with prefect_server(free_port()) as running:
        yield running


def request(number: int = 0) -> Event:
    event = translate(names.INGEST_REQUESTED, message({"source": "shop"}, message_id=str(number)))
    assert event
    return event


def run(prefect: PrefectServer, story: Callable[[Confirmed], Awaitable[None]]) -> None:
    """Run a test story with a gateway's connection to Prefect."""

    async def running() -> None:
        async with httpx.AsyncClient() as http:
            events = PrefectEvents(PrefectApi(prefect.url, {}, http, 10))
            outbox = Outbox(events, Circuit())
            sending = asyncio.create_task(outbox.run())
            await story(Confirmed(outbox, events, PATIENCE_S))
            sending.cancel()

    asyncio.run(running())


def test_each_topic_is_confirmed_or_found_by_reconcile() -> None:
    unconfirmed = {"lake.landed", "warehouse.merged", "marts.published", "sync.completed"}
    assert unconfirmed | CONFIRMED == set(names.EVENT_OF_TOPIC.values())
    assert unconfirmed & CONFIRMED == set()


def test_request_is_answered_once_it_is_stored(prefect: PrefectServer) -> None:
    async def story(confirmed: Confirmed) -> None:
        prefect.stores = False
        taken = asyncio.create_task(confirmed.hand_over(request()))
        await asyncio.sleep(2 * BETWEEN_S)
        assert len(prefect.events) == 1
        assert not taken.done()
        prefect.stores = True
        await asyncio.wait_for(taken, 2 * BETWEEN_S + 1)

    run(prefect, story)


def test_request_that_is_not_stored_is_repeated(prefect: PrefectServer) -> None:
    async def story(confirmed: Confirmed) -> None:
        prefect.stores = False
        with pytest.raises(ServiceUnavailable, match=r"accepted source\.requested and did not store it within 3 s"):
            await confirmed.hand_over(request())
        prefect.events.clear()  # as a restart does
        prefect.stores = True
        await confirmed.hand_over(request())

    run(prefect, story)
    assert [event["id"] for event in prefect.events] == [request().id]


def test_stored_request_is_not_sent_again(prefect: PrefectServer) -> None:
    async def story(confirmed: Confirmed) -> None:
        for _ in range(2):
            await confirmed.hand_over(request())

    run(prefect, story)
    assert (prefect.asked, len(prefect.events)) == (1, 1)


def test_landing_is_answered_before_it_is_stored(prefect: PrefectServer) -> None:
    async def story(confirmed: Confirmed) -> None:
        prefect.stores = False
        landing = translate(names.LAKE_LANDED, landed())
        assert landing
        await asyncio.wait_for(confirmed.hand_over(landing), PATIENCE_S)

    run(prefect, story)
    assert (prefect.questions, len(prefect.events)) == (0, 1)


def test_many_requests_share_the_questions(prefect: PrefectServer) -> None:
    async def story(confirmed: Confirmed) -> None:
        prefect.stores = False
        taken = asyncio.gather(*(confirmed.hand_over(request(n)) for n in range(2 * LONGEST_QUESTION)))
        while len(prefect.events) < 2 * LONGEST_QUESTION:
            await asyncio.sleep(0.05)
        prefect.stores, prefect.questions = True, 0
        await taken

    run(prefect, story)
    assert prefect.questions <= 4


def test_disconnected_caller_is_awaited_no_longer(prefect: PrefectServer) -> None:
    async def story(confirmed: Confirmed) -> None:
        prefect.stores = False
        taken = asyncio.create_task(confirmed.hand_over(request()))
        await asyncio.sleep(BETWEEN_S)
        taken.cancel()
        await asyncio.sleep(2 * BETWEEN_S)
        questions = prefect.questions
        await asyncio.sleep(2 * BETWEEN_S)
        assert prefect.questions == questions

    run(prefect, story)
