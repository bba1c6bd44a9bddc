"""A Prefect that takes events and does not store them gets no more than it can hold; one that keeps up gets all."""

import asyncio
import contextlib
from collections.abc import Iterator

import httpx
import pytest

from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable
from millrace.events.translate import Event, translate
from millrace.gateway.backlog import MOST, PATIENCE_S, Backlog
from millrace.gateway.outbox import Circuit, Outbox
from millrace.gateway.prefect_events import PrefectEvents
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.pushes import landed
from tests.support.servers import free_port


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


def take(prefect: PrefectServer, backlog: Backlog, first: int, count: int) -> None:
    """Prefect takes events, fifty in a request."""
    events = [event(n) for n in range(first, first + count)]
    prefect.events += [each.as_prefect() for each in events]
    for start in range(0, count, 50):
        backlog.took(events[start : start + 50])


def test_it_gets_more_once_it_has_stored_and_one_batch_after_a_while_without_a_move(prefect: PrefectServer) -> None:
    prefect.stores, now = False, 0.0

    async def story() -> None:
        nonlocal now
        async with httpx.AsyncClient() as http:
            backlog = Backlog(PrefectEvents(prefect.url, {}, http, 10), lambda: now)
            take(prefect, backlog, 0, MOST + 100)
            with pytest.raises(ServiceUnavailable, match=f"taken {MOST + 100} events that it has not stored yet"):
                await backlog.check()
            prefect.stores = True
            await backlog.check()
            assert backlog.size == 0

            take(prefect, backlog, 10_000, MOST + 100)
            prefect.events.clear()  # as a restart does
            now += PATIENCE_S
            await backlog.check()
            take(prefect, backlog, 20_000, 50)
            await backlog.check()
            assert backlog.size == 0

    asyncio.run(story())


def test_one_that_stores_nothing_gets_one_batch_in_a_while(prefect: PrefectServer) -> None:
    prefect.stores, now, given = False, 0.0, 0

    async def story() -> None:
        nonlocal now, given
        async with httpx.AsyncClient() as http:
            backlog = Backlog(PrefectEvents(prefect.url, {}, http, 10), lambda: now)
            take(prefect, backlog, 0, MOST + 100)
            for second in range(601):
                now = float(second)
                with contextlib.suppress(ServiceUnavailable):
                    await backlog.check()
                    take(prefect, backlog, 10_000 + 100 * second, 100)
                    given += 1

    asyncio.run(story())
    assert given == 600 // PATIENCE_S
