"""Posts events to the Prefect server."""

import base64
from collections.abc import Mapping

import httpx

from contracts.errors import EventRefused, ServiceUnavailable
from gateway.translate import Event

TIMEOUT_S = 20.0


class PrefectEvents:
    """The events endpoint of a Prefect API."""

    def __init__(self, api_url: str, headers: Mapping[str, str], http: httpx.AsyncClient) -> None:
        self._url, self._headers, self._http = api_url.rstrip("/"), dict(headers), http

    async def post(self, event: Event) -> None:
        """Hand over one event; returns once Prefect has taken it.

        Raises:
            ServiceUnavailable: Prefect did not answer, or answered that it can't now; Pub/Sub pushes again.
            EventRefused: Prefect says that the event is wrong.
        """
        try:
            answer = await self._http.post(
                f"{self._url}/events", json=[event.as_prefect()], headers=self._headers, timeout=TIMEOUT_S
            )
        except httpx.HTTPError as error:
            raise ServiceUnavailable(f"Prefect at {self._url}: {error or type(error).__name__}") from error
        if answer.status_code >= 500 or answer.status_code in (401, 403, 404, 408, 429):
            raise ServiceUnavailable(f"Prefect at {self._url} answered {answer.status_code}")
        if not answer.is_success:
            raise EventRefused(f"Prefect at {self._url} refused {event.name}: {answer.status_code} {answer.text[:300]}")

    async def healthy(self) -> bool:
        """Whether the server answers."""
        try:
            return (await self._http.get(f"{self._url}/health", headers=self._headers, timeout=5)).is_success
        except httpx.HTTPError:
            return False


def api_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """How to authenticate with Prefect, from Prefect's own variables."""
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
