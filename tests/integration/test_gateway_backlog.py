"""A Prefect that takes events and does not store them gets no more than it can hold; one that keeps up gets all."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from contracts import names
from contracts.errors import ServiceUnavailable
from gateway.backlog import MOST, PATIENCE_S, Backlog
from gateway.outbox import Circuit, Outbox
from gateway.prefect_events import PrefectEvents
from gateway.translate import Event, translate
from tests.integration.prefect_server import PrefectServer, prefect_server
from tests.pushes import landed
from tests.servers import free_port


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with prefect_server(free_port()) as made:
        yield made


def event(number: int) -> Event:
    made = translate(names.LAKE_LANDED, landed(message_id=str(number)))
    assert made
    return made


async def hand_over(prefect: PrefectServer, count: int) -> int:
    """How many of the events that come one after the other, a hundred at a time, are refused for now."""
    refused = 0
    async with httpx.AsyncClient() as http:
        outbox = Outbox(PrefectEvents(prefect.url, {}, http, 10), Circuit())
        sending = asyncio.create_task(outbox.run())
        for first in range(0, count, 100):
            sent = [outbox.hand_over(event(n)) for n in range(first, first + 100)]
            answers = await asyncio.gather(*sent, return_exceptions=True)
            refused += sum(isinstance(answer, ServiceUnavailable) for answer in answers)
        sending.cancel()
    return refused


def test_one_that_keeps_up_gets_all(prefect: PrefectServer) -> None:
    assert asyncio.run(hand_over(prefect, 3 * MOST)) == 0
    assert len(prefect.events) == 3 * MOST


def test_one_that_stores_nothing_gets_no_more_than_it_can_hold(prefect: PrefectServer) -> None:
    prefect.stores = False
    refused = asyncio.run(hand_over(prefect, 2 * MOST))
    assert len(prefect.events) == 2 * MOST - refused
    assert MOST < len(prefect.events) <= MOST + 200


def test_it_gets_more_once_it_has_stored_and_after_a_while_without_a_move(prefect: PrefectServer) -> None:
    prefect.stores, now = False, 0.0

    async def fill(backlog: Backlog, first: int) -> None:
        events = [event(n) for n in range(first, first + MOST + 100)]
        prefect.events += [each.as_prefect() for each in events]
        for start in range(0, len(events), 50):
            backlog.took(events[start : start + 50])
        with pytest.raises(ServiceUnavailable, match=f"taken {MOST + 100} events that it has not stored yet"):
            await backlog.check()

    async def story() -> None:
        nonlocal now
        async with httpx.AsyncClient() as http:
            backlog = Backlog(PrefectEvents(prefect.url, {}, http, 10), lambda: now)
            await fill(backlog, 0)
            prefect.stores = True
            await backlog.check()
            assert backlog.size == 0
            prefect.stores = False
            await fill(backlog, 10_000)
            now += PATIENCE_S
            await backlog.check()
            assert backlog.size == 0

    asyncio.run(story())
