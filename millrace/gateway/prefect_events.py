"""Events in, requests to the API of Prefect's server out."""

import asyncio
import base64
from collections.abc import Mapping, Sequence

import httpx

from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.translate import Event

HEALTH_TIMEOUT_S = 5.0
TEMPORARY = (401, 403, 404, 408, 425, 429)  # a key rotation, a deployment of the server, a rate limit


class PrefectEvents:
    """The events endpoint of a Prefect API."""

    def __init__(self, api_url: str, headers: Mapping[str, str], http: httpx.AsyncClient, timeout_s: float) -> None:
        self._url, self._headers, self._http = api_url.rstrip("/"), dict(headers), http
        self._timeout_s = timeout_s

    async def post(self, events: Sequence[Event]) -> None:
        """Send events; return once Prefect has accepted all of them.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, or answered with a temporary error.
            EventRefused: Prefect rejected one of the events as invalid.
        """
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

    async def _post(self, path: str, body: object) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout_s):  # httpx limits each read, not the whole request
                answer = await self._http.post(f"{self._url}{path}", json=body, headers=self._headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ServiceUnavailable(f"Prefect at {self._url}: {str(error) or type(error).__name__}") from error
        if answer.status_code >= 500 or answer.status_code in TEMPORARY:
            raise ServiceUnavailable(f"Prefect at {self._url} answered {answer.status_code}")
        return answer

    async def healthy(self) -> bool:
        """Return true when the server answers."""
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                return (await self._http.get(f"{self._url}/health", headers=self._headers)).is_success
        except (httpx.HTTPError, TimeoutError):
            return False


def api_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that authenticate with Prefect, from Prefect's own variables."""
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
