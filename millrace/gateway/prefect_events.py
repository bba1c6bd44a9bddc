"""Posts events to the Prefect server."""

import asyncio
import base64
from collections.abc import Mapping, Sequence

import httpx

from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.translate import Event

HEALTH_TIMEOUT_S = 5.0
HEALS = (401, 403, 404, 408, 425, 429)  # a key being rotated, a server being deployed, too much at once


class PrefectEvents:
    """The events endpoint of a Prefect API."""

    def __init__(self, api_url: str, headers: Mapping[str, str], http: httpx.AsyncClient, timeout_s: float) -> None:
        self._url, self._headers, self._http = api_url.rstrip("/"), dict(headers), http
        self._timeout_s = timeout_s

    async def post(self, events: Sequence[Event]) -> None:
        """Hand over events; returns once Prefect has taken them, all or none.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, or answered that it can't now.
            EventRefused: Prefect says that one of the events is wrong.
        """
        answer = await self._ask("/events", [event.as_prefect() for event in events])
        if not answer.is_success:
            raise EventRefused(
                f"Prefect at {self._url} refused {events[0].name}: {answer.status_code} {answer.text[:300]}"
            )

    async def stored(self, ids: Sequence[str]) -> set[str]:
        """Which of at most 50 events are in Prefect's database; all, when it does not understand the question.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, or answered that it can't now.
        """
        answer = await self._ask("/events/filter", {"filter": {"id": {"id": list(ids)}}, "limit": 50})
        return {str(event["id"]) for event in answer.json()["events"]} if answer.is_success else set(ids)

    async def _ask(self, path: str, body: object) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout_s):  # httpx bounds each read, not the whole
                answer = await self._http.post(f"{self._url}{path}", json=body, headers=self._headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ServiceUnavailable(f"Prefect at {self._url}: {str(error) or type(error).__name__}") from error
        if answer.status_code >= 500 or answer.status_code in HEALS:
            raise ServiceUnavailable(f"Prefect at {self._url} answered {answer.status_code}")
        return answer

    async def healthy(self) -> bool:
        """Whether the server answers."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                return (await self._http.get(f"{self._url}/health", headers=self._headers)).is_success
        except (httpx.HTTPError, TimeoutError):
            return False


def api_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """How to authenticate with Prefect, from Prefect's own variables."""
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
