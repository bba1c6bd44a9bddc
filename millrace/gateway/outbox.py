"""Single events in, batched requests to Prefect out; while Prefect does not answer, events are rejected at once."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.translate import Event
from millrace.gateway.backlog import Backlog
from millrace.gateway.logs import log_event
from millrace.gateway.prefect_events import PrefectEvents

WINDOW_S = 0.01
MOST_AT_ONCE = 100
MOST_WAITING = 2000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0

Waiting = tuple[Event, "asyncio.Future[None]"]


class Sender(Protocol):
    """The outbox, or a filter before it."""

    @property
    def pause_s(self) -> float:
        """Return the seconds until the next try."""

    def check(self) -> None:
        """Return when an event may be handed over now; raise ServiceUnavailable when not."""

    async def hand_over(self, event: Event) -> None:
        """Return once Prefect has the event; raise ServiceUnavailable or EventRefused when it does not take it."""


@dataclass
class Circuit:
    """A circuit breaker: closed while Prefect accepts events, else open for a pause that each failure doubles."""

    clock: Callable[[], float] = time.monotonic
    failures: int = field(default=0, init=False)
    until: float = field(default=0.0, init=False)

    @property
    def pause_s(self) -> float:
        """Return the seconds until the next try; 0 when Prefect may be tried now."""
        return max(0.0, self.until - self.clock())

    def fail(self, reason: str) -> None:
        """Open the circuit after Prefect did not accept events."""
        self.failures += 1
        self.until = self.clock() + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 10))
        if self.failures == 1:
            log_event("gateway.prefect_away", why=reason)

    def close(self) -> None:
        """Close the circuit after Prefect accepted events."""
        if self.failures:
            log_event("gateway.prefect_back", failures=self.failures)
        self.failures, self.until = 0, 0.0


class Outbox:
    """A queue of events for Prefect; one request at a time sends all that wait."""

    def __init__(self, prefect: PrefectEvents, circuit: Circuit) -> None:
        self._prefect, self._circuit, self._backlog = prefect, circuit, Backlog(prefect)
        self._waiting: deque[Waiting] = deque()
        self._news = asyncio.Event()

    @property
    def pause_s(self) -> float:
        """Return the seconds until the next try."""
        return self._circuit.pause_s

    def check(self) -> None:
        """Return when an event may be handed over now.

        Raises:
            ServiceUnavailable: Prefect did not answer recently, or too many events wait for it.
        """
        if self._circuit.pause_s:
            raise ServiceUnavailable(f"Prefect does not answer; next try in {self._circuit.pause_s:.1f} s")
        if len(self._waiting) >= MOST_WAITING:
            raise ServiceUnavailable(f"{MOST_WAITING} events wait for Prefect")

    async def hand_over(self, event: Event) -> None:
        """Return once Prefect has the event.

        Raises:
            ServiceUnavailable: Prefect did not accept the event, does not answer, or too many events wait for it.
            EventRefused: Prefect rejected the event as invalid.
        """
        self.check()
        taken = asyncio.get_running_loop().create_future()
        self._waiting.append((event, taken))
        self._news.set()
        await taken

    async def run(self) -> None:
        """Send events that are handed over, until cancelled."""
        while True:
            await self._news.wait()
            if len(self._waiting) < MOST_AT_ONCE:
                await asyncio.sleep(WINDOW_S)  # so that a burst becomes one request
            batch = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            if not self._waiting:
                self._news.clear()
            await self._send([(event, taken) for event, taken in batch if not taken.done()])

    async def _send(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        try:
            if self._circuit.pause_s:
                raise ServiceUnavailable("Prefect does not answer")
            events = [event for event, _ in batch]
            await self._backlog.check()
            await self._prefect.post(events)
            self._backlog.add(events)
        except ServiceUnavailable as error:
            if not self._circuit.pause_s:
                self._circuit.fail(str(error))
            _end(batch, error)
        except EventRefused as error:
            self._circuit.close()
            if len(batch) == 1:
                return _end(batch, error)
            half = len(batch) // 2  # an invalid event must not fail the others
            await self._send(batch[:half])
            await self._send(batch[half:])
        except Exception as error:  # a bug must not end the only sending task
            _end(batch, error)
        else:
            self._circuit.close()
            _end(batch, None)


def _end(batch: Sequence[Waiting], error: Exception | None) -> None:
    for _, taken in batch:
        if taken.done():  # its caller is gone
            continue
        if error:
            taken.set_exception(error)
        else:
            taken.set_result(None)
