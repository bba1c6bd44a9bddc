"""A client of Airbyte's public API: connections and jobs."""

import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from millrace.airbyte.job import Job, parse_job
from millrace.domain.errors import AirbyteRefused, ServiceUnavailable, SettingsError, SyncRunning

ACTIVE, INACTIVE = "active", "inactive"
TIMEOUT_S = 30.0
TOKEN_S = 900.0
REFRESH_AT = 0.8
BRING_ROWS = ("sync", "refresh")  # types of jobs; Airbyte lists one type, or those of syncs and resets
RETRYABLE = (408, 429, 500, 502, 503, 504)


class AirbyteClient:
    """A client of Airbyte's public API at `url`; it fetches and renews its token."""

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        now: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.url = url.rstrip("/")
        self._credentials = (client_id, client_secret)
        self._http = httpx.Client(timeout=timeout_s)
        self._now = now
        self._token, self._renew_at = "", 0.0

    def __enter__(self) -> "AirbyteClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def connection(self, name: str) -> dict[str, Any]:
        """Return the connection of that name.

        Raises:
            SettingsError: Airbyte has no such connection; the message names the command that creates it.
        """
        named = [c for c in self.pages("/connections") if c["name"] == name]
        if not named:
            raise SettingsError(
                f"Airbyte at {self.url} has no connection {name!r}; run `millrace connections apply {name}`"
            )
        return dict(min(named, key=lambda c: bool(c["status"] != ACTIVE)))  # a recreated connection has its name twice

    def active_connection(self, name: str) -> dict[str, Any]:
        """Return the connection of that name, which must be active; to a sync of another Airbyte answers a bare 500.

        Raises:
            SettingsError: Airbyte has no such connection; the message names the command that creates it.
            AirbyteRefused: the connection is inactive or deleted; the message names the command that activates it.
        """
        connection = self.connection(name)
        if connection["status"] != ACTIVE:
            repair = f"run `millrace connections apply {name}`"
            raise AirbyteRefused(
                f"Airbyte's connection {name!r} is {connection['status']}, so it starts no sync; {repair}"
            )
        return connection

    def sync_modes(self, connection_id: str) -> dict[str, str]:
        """Return Airbyte's sync mode of each stream that a connection reads; {} when the connection is gone."""
        try:
            connection = self.call("GET", f"/connections/{connection_id}")
        except AirbyteRefused:
            return {}
        streams = (connection.get("configurations") or {}).get("streams") or []
        return {stream["name"]: stream.get("syncMode") or "" for stream in streams}

    def start_job(self, connection_id: str) -> int:
        """Start a sync; return the job's id.

        Raises:
            SyncRunning: a job is running already; `newest_jobs` finds it.
        """
        answer = self.call("POST", "/jobs", json={"connectionId": connection_id, "jobType": "sync"})
        return int(answer["jobId"])

    def job(self, job_id: int) -> Job:
        """Return the present state of a job."""
        return parse_job(self.call("GET", f"/jobs/{job_id}"))

    def newest_jobs(self, connection_id: str, limit: int = 10) -> list[Job]:
        """Return the newest jobs of a connection that bring rows, newest first."""
        return list(itertools.islice(self.jobs_of(connection_id, limit), limit))

    def jobs_of(self, connection_id: str, limit: int = 100) -> Iterator[Job]:
        """Yield all jobs of a connection that bring rows, newest first; a job that moves between pages may come twice.

        `limit` is the number of jobs in a page.
        """
        listings = [self._jobs_of_kind(connection_id, kind, limit) for kind in BRING_ROWS]
        return heapq.merge(*listings, key=lambda job: -job.id)

    def _jobs_of_kind(self, connection_id: str, kind: str, limit: int) -> Iterator[Job]:
        offset = 0
        query = {"connectionId": connection_id, "orderBy": "createdAt|DESC", "jobType": kind, "limit": limit}
        while page := self.call("GET", "/jobs", params=query | {"offset": offset}).get("data", []):
            yield from map(parse_job, page)
            offset += len(page)

    def cancel_job(self, job_id: int) -> None:
        """Cancel a job; do nothing when it has ended."""
        try:
            self.call("DELETE", f"/jobs/{job_id}")
        except AirbyteRefused:
            if not self.job(job_id).ended:
                raise

    def pages(self, path: str, limit: int = 100) -> list[dict[str, Any]]:
        """Return all items of a listing; Airbyte pages it, except its definitions, which come at once."""
        items: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", path, params={"limit": limit, "offset": len(items)}).get("data", [])
            if page and page[0] in items:
                return items
            items += page
            if len(page) != limit:
                return items

    def call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Make one authorised call; renew the token once on 401.

        Raises:
            ServiceUnavailable: Airbyte did not answer, or answered 408, 429 or 5xx.
            AirbyteRefused: Airbyte rejected the request.
        """
        response = self._send(method, path, **request)
        if response.status_code == 401:
            self._renew_at = 0.0
            response = self._send(method, path, **request)
        if response.status_code in RETRYABLE:
            raise ServiceUnavailable(f"Airbyte: {method} {path} answered {response.status_code}: {response.text[:300]}")
        if response.status_code == 409:
            raise SyncRunning(f"Airbyte: {method} {path}: {response.text[:300]}")
        if response.is_error:
            raise AirbyteRefused(f"Airbyte: {method} {path} answered {response.status_code}: {response.text[:500]}")
        return _object(response, f"{method} {path}") if response.content else {}

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        if self._now() >= self._renew_at:
            self._renew()
        try:
            headers = {"Authorization": f"Bearer {self._token}"}
            return self._http.request(method, self.url + path, headers=headers, **request)
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"Airbyte at {self.url} did not answer {method} {path}: {error!r}") from None

    def _renew(self) -> None:
        client_id, client_secret = self._credentials
        body = {"client_id": client_id, "client_secret": client_secret}
        grant = {"grant_type": "client_credentials", "grant-type": "client_credentials"}
        try:
            response = self._http.post(self.url + "/applications/token", json=body | grant)
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"Airbyte at {self.url} gave no token: {error!r}") from None
        if response.status_code in RETRYABLE:
            raise ServiceUnavailable(f"Airbyte at {self.url} gave no token: {response.status_code}")
        if response.is_error:
            raise AirbyteRefused(
                f"Airbyte at {self.url} rejected the client id and secret ({response.status_code});"
                " check the secrets airbyte-client-id and airbyte-client-secret"
            )
        answer = _object(response, "POST /applications/token")
        self._token = str(answer.get("access_token", ""))
        self._renew_at = self._now() + REFRESH_AT * float(answer.get("expires_in", TOKEN_S))


def _object(response: httpx.Response, call: str) -> dict[str, Any]:
    try:
        return dict(response.json())
    except ValueError:
        raise AirbyteRefused(
            f"Airbyte: {call} answered {response.status_code} with no JSON object; is `airbyte.url` the address of its"
            " public API (…/api/public/v1), or is a login page before it?"
        ) from None
