"""Single events in, few requests to Prefect out; while Prefect is away, a quick no."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.translate import Event
from millrace.gateway.backlog import Backlog
from millrace.gateway.logs import tell
from millrace.gateway.prefect_events import PrefectEvents

WINDOW_S = 0.01
MOST_AT_ONCE = 100
MOST_WAITING = 2000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0

Waiting = tuple[Event, "asyncio.Future[None]"]


@dataclass
class Circuit:
    """Closed while Prefect takes events. Open for a pause after it did not, which doubles with each failure."""

    clock: Callable[[], float] = time.monotonic
    failures: int = field(default=0, init=False)
    until: float = field(default=0.0, init=False)

    @property
    def pause_s(self) -> float:
        """Seconds until Prefect is tried again; 0 when it may be tried now."""
        return max(0.0, self.until - self.clock())

    def failed(self, why: str) -> None:
        """Prefect did not take events."""
        self.failures += 1
        self.until = self.clock() + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 10))
        if self.failures == 1:
            tell("gateway.prefect_away", why=why)

    def worked(self) -> None:
        """Prefect took events."""
        if self.failures:
            tell("gateway.prefect_back", failures=self.failures)
        self.failures, self.until = 0, 0.0


class Outbox:
    """Hands events to Prefect, as many in one request as there are, one request at a time."""

    def __init__(self, prefect: PrefectEvents, circuit: Circuit) -> None:
        self._prefect, self._circuit, self._backlog = prefect, circuit, Backlog(prefect)
        self._waiting: deque[Waiting] = deque()
        self._news = asyncio.Event()

    @property
    def pause_s(self) -> float:
        """Seconds until trying again makes sense."""
        return self._circuit.pause_s

    def check(self) -> None:
        """Return when an event may be handed over now.

        Raises:
            ServiceUnavailable: Prefect is known to be away, or too many events wait for it.
        """
        if self._circuit.pause_s:
            raise ServiceUnavailable(f"Prefect is away; tried again in {self._circuit.pause_s:.1f} s")
        if len(self._waiting) >= MOST_WAITING:
            raise ServiceUnavailable(f"{MOST_WAITING} events wait for Prefect")

    async def hand_over(self, event: Event) -> None:
        """Return once Prefect has the event.

        Raises:
            ServiceUnavailable: Prefect did not take it, is known to be away, or too many events wait for it.
            EventRefused: Prefect says that the event is wrong.
        """
        self.check()
        taken = asyncio.get_running_loop().create_future()
        self._waiting.append((event, taken))
        self._news.set()
        await taken

    async def run(self) -> None:
        """Send what is handed over, until cancelled."""
        while True:
            await self._news.wait()
            if len(self._waiting) < MOST_AT_ONCE:
                await asyncio.sleep(WINDOW_S)  # those of a burst come together
            batch = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            if not self._waiting:
                self._news.clear()
            await self._send([(event, taken) for event, taken in batch if not taken.done()])

    async def _send(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        try:
            if self._circuit.pause_s:
                raise ServiceUnavailable("Prefect is away")
            events = [event for event, _ in batch]
            await self._backlog.check()
            await self._prefect.post(events)
            self._backlog.took(events)
        except ServiceUnavailable as error:
            if not self._circuit.pause_s:
                self._circuit.failed(str(error))
            _end(batch, error)
        except EventRefused as error:
            self._circuit.worked()
            if len(batch) == 1:
                return _end(batch, error)
            half = len(batch) // 2  # one that is wrong must not be the ruin of others
            await self._send(batch[:half])
            await self._send(batch[half:])
        except Exception as error:  # a bug must not end the one task that all wait for
            _end(batch, error)
        else:
            self._circuit.worked()
            _end(batch, None)


def _end(batch: Sequence[Waiting], error: Exception | None) -> None:
    for _, taken in batch:
        if taken.done():  # its caller went away
            continue
        if error:
            taken.set_exception(error)
        else:
            taken.set_result(None)
