"""Events in; the same events to the outbox, but for some an answer only once Prefect's database has them.

Prefect accepts events into memory. It loses them with its process, and after some minutes without its database. What
most events announce is also in the lake, the ledger or Airbyte, where `reconcile` finds it. What these announce is
nowhere else: from Prefect's database `reconcile` reads whether each got its run.
"""

import asyncio
from contextlib import suppress
from itertools import islice

from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable
from millrace.events.translate import Event
from millrace.gateway.backlog import LONGEST_QUESTION
from millrace.gateway.outbox import Outbox
from millrace.gateway.prefect_events import PrefectEvents

CONFIRMED = frozenset(names.EVENT_OF_TOPIC[topic] for topic in (names.INGEST_REQUESTED, names.SECRET_ROTATED))
BETWEEN_S = 0.5
PATIENCE_S = 20.0  # Prefect stores events every 5 seconds; below the deadline of a push, and of a shutdown


class Confirmed:
    """The outbox, whose answer for events in `CONFIRMED` is a promise that outlives Prefect's process."""

    def __init__(self, outbox: Outbox, prefect: PrefectEvents, patience_s: float = PATIENCE_S) -> None:
        self._outbox, self._prefect, self._patience_s = outbox, prefect, patience_s
        self._waiting: dict[asyncio.Future[None], str] = {}
        self._asking: asyncio.Task[None] | None = None

    @property
    def pause_s(self) -> float:
        """Return the seconds until the next try."""
        return self._outbox.pause_s

    def check(self) -> None:
        """Return when an event may be handed over now; raise ServiceUnavailable when not."""
        self._outbox.check()

    async def hand_over(self, event: Event) -> None:
        """Return once Prefect has accepted the event, or stored it if it is in `CONFIRMED`.

        An event of `CONFIRMED` that is stored already is not sent again, as it would start a second run.

        Raises:
            ServiceUnavailable: Prefect did not accept or store the event in time.
            EventRefused: Prefect rejected the event as invalid.
        """
        if event.name not in CONFIRMED:
            return await self._outbox.hand_over(event)
        self._outbox.check()
        with suppress(ServiceUnavailable):  # the outbox meets the same and stops asking
            if await self._prefect.stored([event.id]):
                return
        await self._outbox.hand_over(event)
        await self._wait_until_stored(event)

    async def _wait_until_stored(self, event: Event) -> None:
        stored = asyncio.get_running_loop().create_future()
        self._waiting[stored] = event.id
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            async with asyncio.timeout(self._patience_s):
                await stored
        except TimeoutError:
            raise ServiceUnavailable(
                f"Prefect accepted {event.name} and did not store it within {self._patience_s:.0f} s"
            ) from None
        finally:
            self._waiting.pop(stored, None)

    async def _ask(self) -> None:
        """Ask Prefect which of the events are stored, the oldest first, until none is awaited."""
        while self._waiting:
            questions = dict(islice(self._waiting.items(), LONGEST_QUESTION))
            with suppress(ServiceUnavailable):
                confirmed = await self._prefect.stored(list(set(questions.values())))
                for stored in [stored for stored, event_id in questions.items() if event_id in confirmed]:
                    if not stored.done():
                        stored.set_result(None)
                    self._waiting.pop(stored, None)
            await asyncio.sleep(BETWEEN_S)
