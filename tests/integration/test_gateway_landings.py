"""Landings of a stream that come together are one event in Prefect; none is answered before an event stands for it."""

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
from millrace.gateway.prefect_events import PrefectEvents
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.pushes import landed, message
from tests.support.servers import free_port

APART_S = 0.3
Answers = list[Event | BaseException]


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with prefect_server(free_port()) as made:
        yield made
        made.hold.set()


def landing(number: int, stream: str = "planes", minute: int = 0) -> Event:
    path = f"{names.manifests_prefix('shop', stream)}20260101/c-{number:012d}.json"
    sent = landed(path, message_id=f"{stream}-{number}")
    return event(names.LAKE_LANDED, sent.model_copy(update={"publish_time": f"2026-01-01T00:{minute:02d}:00Z"}))


def event(topic: str, sent: Incoming) -> Event:
    made = translate(topic, sent)
    assert made
    return made


def tell(prefect: PrefectServer, story: Callable[[Landings], Awaitable[None]], apart_s: float = APART_S) -> None:
    """Run a story with a gateway's way to Prefect."""

    async def run() -> None:
        async with httpx.AsyncClient() as http:
            outbox = Outbox(PrefectEvents(prefect.url, {}, http, 10), Circuit())
            sending = asyncio.create_task(outbox.run())
            await story(Landings(outbox, apart_s))
            sending.cancel()

    asyncio.run(run())


async def hand_over(landings: Landings, *events: Event) -> Answers:
    """What each of the events that come at the same time is answered."""
    return list(await asyncio.gather(*(landings.hand_over(each) for each in events), return_exceptions=True))


def ids(prefect: PrefectServer) -> list[str]:
    return [taken["id"] for taken in prefect.events]


def test_the_first_of_each_stream_goes_at_once(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        async with asyncio.timeout(20):
            first = [landing(0), landing(0, "airlines")]
            assert await hand_over(landings, *first) == first

    tell(prefect, story, apart_s=60)


def test_those_after_it_are_one_event_of_each_stream(prefect: PrefectServer) -> None:
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

    tell(prefect, story)


def test_the_newest_stands_for_the_others_and_not_the_last_to_come(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        late, newest = landing(1, minute=1), landing(2, minute=9)
        assert await hand_over(landings, landing(0), newest, late) == [newest] * 3

    tell(prefect, story)


def test_none_is_answered_before_prefect_has_the_event_that_stands_for_it(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        prefect.hold.clear()
        sent = asyncio.create_task(hand_over(landings, *(landing(n) for n in range(20))))
        await asyncio.sleep(2 * APART_S)
        assert not sent.done()
        assert prefect.events == []
        prefect.hold.set()
        assert len(set(map(id, await sent))) == 1
        assert len(prefect.events) == 1

    tell(prefect, story)


def test_when_prefect_does_not_take_it_all_are_told_to_come_again(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        prefect.answer = 503
        answers = await hand_over(landings, *(landing(n) for n in range(20)))
        assert {type(answer) for answer in answers} == {ServiceUnavailable}
        (away,) = await hand_over(landings, landing(21))
        assert "Prefect is away" in str(away)

    tell(prefect, story)


def test_one_that_prefect_calls_wrong_is_not_the_ruin_of_those_that_came_with_it(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        good, wrong = [landing(n, minute=n) for n in range(5)], landing(9, minute=9)
        prefect.wrong = {wrong.id}
        *answers, refused = await hand_over(landings, *good, wrong)
        assert answers == good
        assert isinstance(refused, EventRefused)
        assert sorted(ids(prefect)) == sorted(each.id for each in good)

    tell(prefect, story)


def test_a_caller_that_goes_away_takes_no_other_with_it(prefect: PrefectServer) -> None:
    async def story(landings: Landings) -> None:
        first, second = (asyncio.create_task(landings.hand_over(landing(n, minute=n))) for n in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).id in ids(prefect)

    tell(prefect, story)


def test_what_is_no_landing_and_all_when_told_so_is_an_event_each(prefect: PrefectServer) -> None:
    requests = [
        event(names.INGEST_REQUESTED, message({"source": "shop", "reason": str(n)}, message_id=str(n)))
        for n in range(10)
    ]

    async def apart(landings: Landings) -> None:
        assert await hand_over(landings, *requests) == requests

    async def each(landings: Landings) -> None:
        await hand_over(landings, *(landing(n) for n in range(10)))

    tell(prefect, apart)
    tell(prefect, each, apart_s=0)
    assert len(set(ids(prefect))) == 20


def test_no_more_wait_than_memory_is_meant_for_and_streams_are_forgotten(prefect: PrefectServer) -> None:
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

    tell(prefect, story)
