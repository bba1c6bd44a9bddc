"""Events that Prefect took and has not stored yet: it keeps them in memory, and silently drops what is too much."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from millrace.domain.errors import ServiceUnavailable
from millrace.events.translate import Event
from millrace.gateway.prefect_events import PrefectEvents

MOST = 2000  # Prefect's queues in memory hold 10,000, and are of all who send it events
MARK_EVERY = 100
LONGEST_QUESTION = 50  # Prefect's own limit of a page
PATIENCE_S = 15.0


class Backlog:
    """Asks Prefect whether it has stored what it took, once in `MOST` events while it keeps up."""

    def __init__(self, prefect: PrefectEvents, clock: Callable[[], float] = time.monotonic) -> None:
        self._prefect, self._clock = prefect, clock
        # An event, and how many were taken since the one before it; what falls out is lost.
        self._marks: deque[tuple[str, int]] = deque(maxlen=LONGEST_QUESTION)
        self._moved = clock()

    @property
    def size(self) -> int:
        """Events that may not be stored yet."""
        return sum(count for _, count in self._marks)

    def took(self, events: Sequence[Event]) -> None:
        """Prefect took these events."""
        if not self._marks:
            self._moved = self._clock()
        before = self._marks.pop()[1] if self._marks and self._marks[-1][1] < MARK_EVERY else 0
        self._marks.append((events[-1].id, before + len(events)))

    async def check(self) -> None:
        """Return when Prefect may be given more.

        Prefect may have lost what it took, by a restart: after `PATIENCE_S` without a move it gets one batch, and when
        that is stored, what came before it is no longer waited for.

        Raises:
            ServiceUnavailable: it has more than `MOST` events to store, or can't be asked.
        """
        if self.size <= MOST:
            return
        stored = await self._prefect.stored([event for event, _ in self._marks])
        while stored.intersection(event for event, _ in self._marks):
            self._marks.popleft()
            self._moved = self._clock()
        if self.size > MOST and self._clock() - self._moved < PATIENCE_S:
            raise ServiceUnavailable(f"Prefect has taken {self.size} events that it has not stored yet")
        self._moved = self._clock()
