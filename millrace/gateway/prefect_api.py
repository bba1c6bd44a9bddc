"""Requests to the API of Prefect's server in, its answers out; what may pass by itself is ServiceUnavailable."""

import asyncio
import base64
from collections.abc import Mapping

import httpx

from millrace.domain.errors import ServiceUnavailable

TEMPORARY = (401, 403, 404, 408, 425, 429)  # a key rotation, a deployment of the server, a rate limit


class PrefectApi:
    """The API at one address; `timeout_s` limits each request as a whole."""

    def __init__(self, url: str, headers: Mapping[str, str], http: httpx.AsyncClient, timeout_s: float) -> None:
        self.url, self.timeout_s = url.rstrip("/"), timeout_s
        self._headers, self._http = dict(headers), http

    async def post(self, path: str, body: object) -> httpx.Response:
        """Return the answer to a posted JSON document; it may be a rejection.

        Raises:
            ServiceUnavailable: Prefect did not answer in time, or answered with a temporary error.
        """
        answer = await self.request("POST", path, body=body)
        if answer.status_code >= 500 or answer.status_code in TEMPORARY:
            raise ServiceUnavailable(f"Prefect at {self.url} answered {answer.status_code}")
        return answer

    async def request(
        self, method: str, path: str, *, body: object = None, timeout_s: float | None = None
    ) -> httpx.Response:
        """Return the answer to one request, whatever its status.

        Raises:
            ServiceUnavailable: Prefect did not answer in time.
        """
        try:
            async with asyncio.timeout(timeout_s or self.timeout_s):  # httpx limits each read, not the whole request
                return await self._http.request(method, f"{self.url}{path}", json=body, headers=self._headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ServiceUnavailable(f"Prefect at {self.url}: {str(error) or type(error).__name__}") from error


def api_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that authenticate with Prefect, from Prefect's own variables."""
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
