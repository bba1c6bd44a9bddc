"""Events in, requests to the events endpoint of Prefect's server out."""

import time
from collections.abc import Callable, Sequence

from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.translate import Event
from millrace.gateway.prefect_api import PrefectApi

READY_FOR_S = 1.0
READY_TIMEOUT_S = 5.0


class PrefectEvents:
    """The events endpoint of a Prefect API."""

    def __init__(self, api: PrefectApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._clock = api, clock
        self._ready_until = float("-inf")

    async def post(self, events: Sequence[Event]) -> None:
        """Send events; return once Prefect has accepted all of them.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, answered with a temporary error, or has no database.
            EventRefused: Prefect rejected one of the events as invalid.
        """
        await self._check_database()
        answer = await self._api.post("/events", [event.as_prefect() for event in events])
        if not answer.is_success:
            raise EventRefused(
                f"Prefect at {self._api.url} rejected {events[0].name}: {answer.status_code} {answer.text[:300]}"
            )

    async def stored(self, ids: Sequence[str]) -> set[str]:
        """Return those of at most 50 events that are in Prefect's database; all, when Prefect rejects the query.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, or answered with a temporary error.
        """
        answer = await self._api.post("/events/filter", {"filter": {"id": {"id": list(ids)}}, "limit": 50})
        return {str(event["id"]) for event in answer.json()["events"]} if answer.is_success else set(ids)

    async def _check_database(self) -> None:
        """Ask Prefect at most once in `READY_FOR_S` whether its database answers.

        Without its database Prefect accepts events all the same, evaluates no trigger, and drops them after a minute.
        """
        if self._clock() < self._ready_until:
            return
        answer = await self._api.request("GET", "/ready", timeout_s=min(READY_TIMEOUT_S, self._api.timeout_s))
        if answer.status_code >= 500:  # Prefect Cloud has no such page, and answers something below
            raise ServiceUnavailable(f"Prefect at {self._api.url} is not ready: it answered {answer.status_code}")
        self._ready_until = self._clock() + READY_FOR_S
