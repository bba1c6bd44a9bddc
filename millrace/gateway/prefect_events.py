"""Events in, requests to the API of Prefect's server out."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence

import httpx

from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.translate import Event

READY_FOR_S = 1.0
READY_TIMEOUT_S = 5.0
TEMPORARY = (401, 403, 404, 408, 425, 429)  # a key rotation, a deployment of the server, a rate limit


class PrefectEvents:
    """The events endpoint of a Prefect API."""

    def __init__(
        self,
        api_url: str,
        headers: Mapping[str, str],
        http: httpx.AsyncClient,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._headers, self._http = api_url.rstrip("/"), dict(headers), http
        self._timeout_s, self._clock = timeout_s, clock
        self._ready_until = float("-inf")

    async def post(self, events: Sequence[Event]) -> None:
        """Send events; return once Prefect has accepted all of them.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, answered with a temporary error, or has no database.
            EventRefused: Prefect rejected one of the events as invalid.
        """
        await self._check_database()
        answer = await self._post("/events", [event.as_prefect() for event in events])
        if not answer.is_success:
            raise EventRefused(
                f"Prefect at {self._url} rejected {events[0].name}: {answer.status_code} {answer.text[:300]}"
            )

    async def stored(self, ids: Sequence[str]) -> set[str]:
        """Return those of at most 50 events that are in Prefect's database; all, when Prefect rejects the query.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, or answered with a temporary error.
        """
        answer = await self._post("/events/filter", {"filter": {"id": {"id": list(ids)}}, "limit": 50})
        return {str(event["id"]) for event in answer.json()["events"]} if answer.is_success else set(ids)

    async def _check_database(self) -> None:
        """Ask Prefect at most once in `READY_FOR_S` whether its database answers.

        Without its database Prefect accepts events all the same, evaluates no trigger, and drops them after a minute.
        """
        if self._clock() < self._ready_until:
            return
        answer = await self._request("GET", "/ready", min(READY_TIMEOUT_S, self._timeout_s))
        if answer.status_code >= 500:  # Prefect Cloud has no such page, and answers something below
            raise ServiceUnavailable(f"Prefect at {self._url} is not ready: it answered {answer.status_code}")
        self._ready_until = self._clock() + READY_FOR_S

    async def _post(self, path: str, body: object) -> httpx.Response:
        answer = await self._request("POST", path, self._timeout_s, body)
        if answer.status_code >= 500 or answer.status_code in TEMPORARY:
            raise ServiceUnavailable(f"Prefect at {self._url} answered {answer.status_code}")
        return answer

    async def _request(self, method: str, path: str, timeout_s: float, body: object = None) -> httpx.Response:
        try:
            async with asyncio.timeout(timeout_s):  # httpx limits each read, not the whole request
                return await self._http.request(method, f"{self._url}{path}", json=body, headers=self._headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ServiceUnavailable(f"Prefect at {self._url}: {str(error) or type(error).__name__}") from error


def api_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that authenticate with Prefect, from Prefect's own variables."""
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
