"""Events in; the same events out, but those that come late as of now, so that what an outage kept is one run's work.

An event of these kinds only asks for a run that takes all that waits. Prefect's triggers make one run of the events
that occurred within a window. Of an outage of ten minutes, ten windows of a stream would come back at once, and each
would start a run; Prefect even forgets that it has fired for a window, a minute after its end. As of now they are all
within one window. Nothing is lost by it: a run starts a window after the event that it was started for, so it sees the
work of each event that is sent until then.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from millrace.domain import names
from millrace.events.translate import Event
from millrace.gateway.outbox import Sender

LANDED = names.EVENT_OF_TOPIC[names.LAKE_LANDED]
MERGED = names.EVENT_OF_TOPIC[names.WAREHOUSE_MERGED]


def _now() -> datetime:
    return datetime.now(UTC)


class Late:
    """A filter before the outbox: an event that is older than its trigger's window occurs when it is sent."""

    def __init__(self, outbox: Sender, windows_s: Mapping[str, float], now: Callable[[], datetime] = _now) -> None:
        self._outbox, self._windows_s, self._now = outbox, windows_s, now

    @property
    def pause_s(self) -> float:
        """Return the seconds until the next try."""
        return self._outbox.pause_s

    def check(self) -> None:
        """Return when an event may be handed over now; raise ServiceUnavailable when not."""
        self._outbox.check()

    async def hand_over(self, event: Event) -> None:
        """Return once Prefect has the event.

        Raises:
            ServiceUnavailable: Prefect did not accept the event, does not answer, or too many events wait for it.
            EventRefused: Prefect rejected the event as invalid.
        """
        await self._outbox.hand_over(self._as_of_now(event))

    def _as_of_now(self, event: Event) -> Event:
        window_s, now = self._windows_s.get(event.name), self._now()
        if window_s is None or (now - datetime.fromisoformat(event.occurred)).total_seconds() <= window_s:
            return event
        return event.model_copy(update={"occurred": now.isoformat().replace("+00:00", "Z")})
