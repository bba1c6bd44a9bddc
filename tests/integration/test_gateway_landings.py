"""Coalescing: simultaneous landings of a stream become one event, which Prefect has before any push is answered."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest

from millrace.domain import names
from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.message import Incoming
from millrace.events.translate import Event, translate
from millrace.gateway.landings import Landings
from millrace.gateway.outbox import MOST_WAITING, Circuit, Outbox
from millrace.gateway.prefect_api import PrefectApi
from millrace.gateway.prefect_events import PrefectEvents
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.pushes import landed, message
from tests.support.servers import free_port

APART_S = 0.3
Answers = list[Event | BaseException]


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with prefect_server(free_port()) as running:
        yield running
        running.hold.set()


def landing(number: int, stream: str = "planes", minute: int = 0) -> Event:
    path = f"{names.manifests_prefix('shop', stream)}20260101/c-{number:012d}.json"
    sent = landed(path, message_id=f"{stream}-{number}")
    return event(names.LAKE_LANDED, sent.model_copy(update={"publish_time": f"2026-01-01T00:{minute:02d}:00Z"}))


def event(topic: str, sent: Incoming) -> Event:
    translated = translate(topic, sent)
    assert translated
    return translated


def run_story(prefect: PrefectServer, story: Callable[[Landings], Awaitable[None]], apart_s: float = APART_S) -> None:
    """Run a test story with a gateway's connection to Prefect."""

    async def run() -> None:
        async with httpx.AsyncClient() as http:
            outbox = Outbox(PrefectEvents(PrefectApi(prefect.url, {}, http, 10)), Circuit())
            sending = asyncio.create_task(outbox.run())
            await story(Landings(outbox, apart_s))
            sending.cancel()

    asyncio.run(run())


async def hand_over(landings: Landings, *events: Event) -> Answers:
    """Send events at the same time, and return the answer to each."""
    return list(await asyncio.gather(*(landings.hand_over(each) for each in events), return_exceptions=True))


def ids(prefect: PrefectServer) -> list[str]:
    return [taken["id"] for taken in prefect.events]


def test_first_landing_of_stream_is_sent_at_once(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        async with asyncio.timeout(20):
            first = [landing(0), landing(0, "airlines")]
            assert await hand_over(landings, *first) == first

    run_story(prefect, story, apart_s=60)


def test_waiting_landings_become_one_per_stream(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        loop = asyncio.get_running_loop()
        first, began = landing(0), loop.time()
        assert await hand_over(landings, first) == [first]
        after = [landing(n, minute=n) for n in range(1, 50)]
        other = [landing(n, "airlines", minute=n) for n in range(50)]
        answers = await hand_over(landings, *after, *other)
        assert loop.time() - began >= APART_S
        assert answers == [after[-1]] * 49 + [other[-1]] * 50
        assert sorted(ids(prefect)) == sorted([first.id, after[-1].id, other[-1].id])

    run_story(prefect, story)


def test_newest_landing_represents_the_others(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        late, newest = landing(1, minute=1), landing(2, minute=9)
        assert await hand_over(landings, landing(0), newest, late) == [newest] * 3

    run_story(prefect, story)


def test_answers_wait_for_the_event_at_prefect(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        prefect.hold.clear()
        sent = asyncio.create_task(hand_over(landings, *(landing(n) for n in range(20))))
        await asyncio.sleep(2 * APART_S)
        assert not sent.done()
        assert prefect.events == []
        prefect.hold.set()
        assert len(set(map(id, await sent))) == 1
        assert len(prefect.events) == 1

    run_story(prefect, story)


def test_failed_event_fails_all_it_represents(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        prefect.answer = 503
        answers = await hand_over(landings, *(landing(n) for n in range(20)))
        assert {type(answer) for answer in answers} == {ServiceUnavailable}
        (away,) = await hand_over(landings, landing(21))
        assert "Prefect does not answer" in str(away)

    run_story(prefect, story)


def test_rejected_landing_does_not_fail_others(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        good, wrong = [landing(n, minute=n) for n in range(5)], landing(9, minute=9)
        prefect.wrong = {wrong.id}
        *answers, refused = await hand_over(landings, *good, wrong)
        assert answers == good
        assert isinstance(refused, EventRefused)
        assert sorted(ids(prefect)) == sorted(each.id for each in good)

    run_story(prefect, story)


def test_disconnected_caller_affects_no_other(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        first, second = (asyncio.create_task(landings.hand_over(landing(n, minute=n))) for n in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).id in ids(prefect)

    run_story(prefect, story)


def test_other_events_are_never_coalesced(prefect: PrefectServer) -> None:
    requests = [
        event(names.INGEST_REQUESTED, message({"source": "shop", "reason": str(n)}, message_id=str(n)))
        for n in range(10)
    ]

    async def apart(landings: Landings) -> None:
        assert await hand_over(landings, *requests) == requests

    async def each(landings: Landings) -> None:
        await hand_over(landings, *(landing(n) for n in range(10)))

    run_story(prefect, apart)
    run_story(prefect, each, apart_s=0)
    assert len(set(ids(prefect))) == 20


def test_waiting_landings_and_memory_are_bounded(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        prefect.hold.clear()
        waiting = [asyncio.create_task(landings.hand_over(landing(n))) for n in range(MOST_WAITING)]
        await asyncio.sleep(0.1)
        with pytest.raises(ServiceUnavailable, match=f"{MOST_WAITING} landings wait"):
            await landings.hand_over(landing(MOST_WAITING))
        prefect.hold.set()
        await asyncio.gather(*waiting)
        await asyncio.sleep(2.5 * APART_S)
        assert landings._next == {}

    run_story(prefect, story)
