"""Events that Prefect accepted in; an error out while too many are not stored: Prefect drops them silently then."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from millrace.domain.errors import ServiceUnavailable
from millrace.events.translate import Event
from millrace.gateway.prefect_events import PrefectEvents

MOST = 2000  # Prefect's queues in memory hold 10,000 events, from all senders
MARK_EVERY = 100
LONGEST_QUESTION = 50  # Prefect's own limit of a page
PATIENCE_S = 15.0


class Backlog:
    """The events that Prefect accepted and may not have stored; it asks Prefect once in `MOST` events."""

    def __init__(self, prefect: PrefectEvents, clock: Callable[[], float] = time.monotonic) -> None:
        self._prefect, self._clock = prefect, clock
        # An event id, and the number of events since the mark before; marks that fall out are lost.
        self._marks: deque[tuple[str, int]] = deque(maxlen=LONGEST_QUESTION)
        self._moved = clock()

    @property
    def size(self) -> int:
        """Return the number of events that may not be stored yet."""
        return sum(count for _, count in self._marks)

    def add(self, events: Sequence[Event]) -> None:
        """Count events that Prefect accepted."""
        if not self._marks:
            self._moved = self._clock()
        before = self._marks.pop()[1] if self._marks and self._marks[-1][1] < MARK_EVERY else 0
        self._marks.append((events[-1].id, before + len(events)))

    async def check(self) -> None:
        """Return when Prefect may receive more events.

        A restart of Prefect loses accepted events: after `PATIENCE_S` without progress it receives one batch, and once
        that batch is stored, earlier events are no longer awaited.

        Raises:
            ServiceUnavailable: Prefect has more than `MOST` events to store, or did not answer.
        """
        if self.size <= MOST:
            return
        stored = await self._prefect.stored([event for event, _ in self._marks])
        while stored.intersection(event for event, _ in self._marks):
            self._marks.popleft()
            self._moved = self._clock()
        if self.size > MOST and self._clock() - self._moved < PATIENCE_S:
            raise ServiceUnavailable(f"Prefect accepted {self.size} events that it has not stored yet")
        self._moved = self._clock()
