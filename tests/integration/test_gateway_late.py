"""What an outage kept: late landings of a stream are one merge, by Prefect's own evaluation of our trigger."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
import yaml
from prefect.server.events import triggers
from prefect.server.events.actions import DoNothing
from prefect.server.events.schemas.automations import Automation, EventTrigger, Posture
from prefect.server.events.schemas.events import ReceivedEvent, Resource

from millrace.domain import names
from millrace.events.message import instant_text
from millrace.events.translate import Event
from millrace.gateway.late import LANDED, MERGED, Late
from tests.support.servers import ROOT

WINDOW_S, BACK = 60.0, datetime(2026, 1, 1, 12, tzinfo=UTC)  # the moment when Prefect answers again
STREAMS, MINUTES = 3, 10


class Taken:
    """An outbox that keeps its events."""

    pause_s = 0.0

    def __init__(self) -> None:
        self.events: list[Event] = []

    def check(self) -> None:
        return

    async def hand_over(self, event: Event) -> None:
        self.events.append(event)


def landing(stream: int, at: datetime, name: str = LANDED) -> Event:
    resource = {"prefect.resource.id": f"millrace.stream.shop.s{stream}"}
    number = f"{stream}-{at.timestamp()}"
    return Event(id=number, name=name, occurred=at.isoformat(), resource=resource, payload={"object": number})


def sent(events: Sequence[Event], windows_s: dict[str, float], pace_s: float = 0.1) -> list[Event]:
    """Return what the outbox gets of events that come one after the other from the moment when Prefect is back."""
    taken, moments = Taken(), iter(BACK + timedelta(seconds=pace_s * n) for n in range(len(events)))
    late = Late(taken, windows_s, lambda: next(moments))

    async def send() -> None:
        for event in events:
            await late.hand_over(event)

    asyncio.run(send())
    return taken.events


@pytest.mark.parametrize(
    ("name", "age_s", "moved"),
    [(LANDED, 59, False), (LANDED, 61, True), (MERGED, 61, True), ("source.requested", 3600, False)],
)
def test_event_older_than_its_window_occurs_now(name: str, age_s: float, moved: bool) -> None:
    event = landing(1, BACK - timedelta(seconds=age_s), name)
    (came,) = sent([event], {LANDED: WINDOW_S, MERGED: WINDOW_S})
    assert came.model_copy(update={"occurred": event.occurred}) == event
    assert instant_text(came.occurred)
    assert datetime.fromisoformat(came.occurred) == (BACK if moved else datetime.fromisoformat(event.occurred))


def test_windows_are_those_of_the_deployments() -> None:
    deployments = {d["name"]: d for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    for flow, event, variable in (("merge", LANDED, "LANDED"), ("model", MERGED, "MERGED")):
        (trigger,) = deployments[flow]["triggers"]
        window = f"PT{{{{ $MILLRACE_{variable}_WINDOW_S }}}}S"
        assert (trigger["expect"], trigger["within"], trigger["schedule_after"]) == ([event], window, window)
    assert {LANDED, MERGED} == {names.EVENT_OF_TOPIC[topic] for topic in (names.LAKE_LANDED, names.WAREHOUSE_MERGED)}


class Buckets:
    """Prefect's table of open windows, by key; `sweep` deletes those that are over, as the server does every minute."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, ...], Any] = {}

    async def ensure(self, _: Any, trigger: EventTrigger, bucketing_key: Any, **values: Any) -> Any:
        key = tuple(bucketing_key)
        return self.rows[key] if key in self.rows else await self.start(_, trigger, bucketing_key, **values)

    async def start(self, _: Any, trigger: EventTrigger, bucketing_key: Any, **values: Any) -> Any:
        key, own = tuple(bucketing_key), {"count": 0, "last_operation": None, "last_event": None}
        self.rows[key] = SimpleNamespace(bucketing_key=key, **(own | values))
        return self.rows[key]

    async def increment(self, _: Any, bucket: Any, count: int, last_event: Any) -> Any:
        bucket.count += count
        bucket.last_event = last_event
        return bucket

    async def remove(self, _: Any, bucket: Any) -> None:
        self.rows.pop(bucket.bucketing_key, None)

    def sweep(self, now: datetime) -> None:
        self.rows = {k: row for k, row in self.rows.items() if row.end > now - timedelta(seconds=60)}


async def firings(events: Sequence[Event], patch: pytest.MonkeyPatch) -> list[str]:
    """Return the resource of each run that Prefect's evaluation of the merge's trigger starts."""
    buckets, fired = Buckets(), list[str]()

    async def act(firing: Any) -> None:
        fired.append(firing.triggering_event.resource.id)

    @asynccontextmanager
    async def no_session(**_: Any) -> AsyncIterator[Any]:
        yield AsyncMock()

    kept = {"ensure_bucket": buckets.ensure, "start_new_bucket": buckets.start, "remove_bucket": buckets.remove}
    for name, value in (kept | {"increment_bucket": buckets.increment, "act": act}).items():
        patch.setattr(triggers, name, value)
    patch.setattr(triggers, "automations_session", no_session)
    trigger = EventTrigger(
        expect={LANDED},
        match={"prefect.resource.id": "millrace.stream.*"},  # type: ignore[arg-type]  # Prefect converts it
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(seconds=WINDOW_S),
    )
    automation = Automation(name="merge", trigger=trigger, actions=[DoNothing()])
    automation.trigger._set_parent(automation)
    patch.setattr(triggers, "find_interested_triggers", lambda _: [automation.trigger])
    for event in events:
        resource = Resource.model_validate(event.resource)
        received = ReceivedEvent(
            event=event.name, occurred=datetime.fromisoformat(event.occurred), resource=resource, id=uuid4()
        )
        await triggers.reactive_evaluation(received)
        buckets.sweep(BACK)
    await triggers.reset_events_clock()
    return fired


def test_late_landings_start_one_merge_each_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    ages = [timedelta(seconds=20 * n) for n in range(1, 3 * MINUTES + 1)]
    kept = [landing(stream, BACK - age) for stream in range(STREAMS) for age in ages]
    random.Random(1).shuffle(kept)
    as_they_came = asyncio.run(firings(sent(kept, {}), monkeypatch))
    as_of_now = asyncio.run(firings(sent(kept, {LANDED: WINDOW_S}), monkeypatch))
    assert len(as_they_came) > 2 * STREAMS, "what Prefect makes of them as they are"
    assert sorted(as_of_now) == sorted(f"millrace.stream.shop.s{stream}" for stream in range(STREAMS))
