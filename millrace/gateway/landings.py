"""Events in; the same events out, but concurrent landings of one stream as one, since each only asks for a merge."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from millrace.domain import names
from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.translate import Event
from millrace.gateway.outbox import MOST_WAITING, Sender

LANDED = names.EVENT_OF_TOPIC[names.LAKE_LANDED]


@dataclass
class Group:
    """Landings of a stream that wait to be sent together; `event` is the one that is sent."""

    event: Event
    sent: "asyncio.Task[None]"

    def add(self, event: Event) -> None:
        """Add a landing; the newest is sent, as Prefect's triggers ignore events older than those they fired for."""
        if datetime.fromisoformat(event.occurred) >= datetime.fromisoformat(self.event.occurred):
            self.event = event


class Landings:
    """A filter before the outbox: of a stream's landings it passes one in `apart_s` seconds, the first at once."""

    def __init__(self, outbox: Sender, apart_s: float) -> None:
        self._outbox, self._apart_s = outbox, apart_s
        self._groups: dict[str, Group] = {}
        self._next: dict[str, float] = {}  # by stream: the earliest time of its next landing
        self._held = 0

    @property
    def pause_s(self) -> float:
        """Return the seconds until the next try."""
        return self._outbox.pause_s

    async def hand_over(self, event: Event) -> Event:
        """Return the sent event once Prefect has it: this one, or the newest of the landings that were sent together.

        Raises:
            ServiceUnavailable: Prefect did not accept the event, does not answer, or too many events wait for it.
            EventRefused: Prefect rejected the event as invalid.
        """
        if event.name != LANDED or not self._apart_s:
            await self._outbox.hand_over(event)
            return event
        self._outbox.check()
        if self._held >= MOST_WAITING:
            raise ServiceUnavailable(f"{MOST_WAITING} landings wait for Prefect")
        self._held += 1
        try:
            return await self._with_others(event)
        finally:
            self._held -= 1

    async def _with_others(self, event: Event) -> Event:
        stream = event.resource["prefect.resource.id"]
        if group := self._groups.get(stream):
            group.add(event)
        else:
            group = self._groups[stream] = Group(event, asyncio.create_task(self._send(stream)))
            group.sent.add_done_callback(lambda sent: sent.cancelled() or sent.exception())  # its callers may be gone
        try:
            await asyncio.shield(group.sent)
        except EventRefused:
            if group.event is event:
                raise
            await self._outbox.hand_over(event)  # an invalid event must not fail the others
            return event
        return group.event

    async def _send(self, stream: str) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._next.get(stream, 0.0) - loop.time()))
        group = self._groups.pop(stream)
        self._next[stream] = loop.time() + self._apart_s
        loop.call_later(2 * self._apart_s, self._forget, stream)
        await self._outbox.hand_over(group.event)

    def _forget(self, stream: str) -> None:
        if self._next.get(stream, 0.0) < asyncio.get_running_loop().time():
            self._next.pop(stream, None)
