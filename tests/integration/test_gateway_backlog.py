"""The backlog: a Prefect that does not store events gets no more than it can hold; one that keeps up gets all."""

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
from millrace.gateway.prefect_api import PrefectApi
from millrace.gateway.prefect_events import PrefectEvents
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.pushes import landed
from tests.support.servers import free_port


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with prefect_server(free_port()) as running:
        yield running


def event(number: int) -> Event:
    translated = translate(names.LAKE_LANDED, landed(message_id=str(number)))
    assert translated
    return translated


async def hand_over(prefect: PrefectServer, count: int) -> int:
    """Send events one after the other, in batches of a hundred, and return how many are rejected for now."""
    refused = 0
    async with httpx.AsyncClient() as http:
        outbox = Outbox(PrefectEvents(PrefectApi(prefect.url, {}, http, 10)), Circuit())
        sending = asyncio.create_task(outbox.run())
        for first in range(0, count, 100):
            sent = [outbox.hand_over(event(n)) for n in range(first, first + 100)]
            answers = await asyncio.gather(*sent, return_exceptions=True)
            refused += sum(isinstance(answer, ServiceUnavailable) for answer in answers)
        sending.cancel()
    return refused


def test_prefect_that_keeps_up_gets_all_events(prefect: PrefectServer) -> None:
    assert asyncio.run(hand_over(prefect, 3 * MOST)) == 0
    assert len(prefect.events) == 3 * MOST


def test_stalled_prefect_gets_only_what_it_holds(prefect: PrefectServer) -> None:
    prefect.stores = False
    refused = asyncio.run(hand_over(prefect, 2 * MOST))
    assert len(prefect.events) == 2 * MOST - refused
    assert MOST < len(prefect.events) <= MOST + 200


def take(prefect: PrefectServer, backlog: Backlog, first: int, count: int) -> None:
    """Record that Prefect took events, fifty in a request."""
    events = [event(n) for n in range(first, first + count)]
    prefect.events += [each.as_prefect() for each in events]
    for start in range(0, count, 50):
        backlog.add(events[start : start + 50])


def test_backlog_shrinks_when_events_are_stored(prefect: PrefectServer) -> None:
    prefect.stores, now = False, 0.0

    async def story() -> None:
        nonlocal now
        async with httpx.AsyncClient() as http:
            backlog = Backlog(PrefectEvents(PrefectApi(prefect.url, {}, http, 10)), lambda: now)
            take(prefect, backlog, 0, MOST + 100)
            with pytest.raises(ServiceUnavailable, match=f"accepted {MOST + 100} events that it has not stored yet"):
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


def test_stalled_prefect_gets_a_batch_at_times(prefect: PrefectServer) -> None:
    prefect.stores, now, batches = False, 0.0, 0

    async def story() -> None:
        nonlocal now, batches
        async with httpx.AsyncClient() as http:
            backlog = Backlog(PrefectEvents(PrefectApi(prefect.url, {}, http, 10)), lambda: now)
            take(prefect, backlog, 0, MOST + 100)
            for second in range(601):
                now = float(second)
                with contextlib.suppress(ServiceUnavailable):
                    await backlog.check()
                    take(prefect, backlog, 10_000 + 100 * second, 100)
                    batches += 1

    asyncio.run(story())
    assert batches == 600 // PATIENCE_S
