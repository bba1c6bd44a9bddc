"""Who pushes: checks the token that Pub/Sub signs for its push account."""

import time
from typing import Any

import httpx
from google.auth import exceptions, jwt

from contracts.errors import ServiceUnavailable

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
MAX_AGE_S, MIN_AGE_S = 3600.0, 10.0
CLOCK_SKEW_S = 30


class Unauthorised(Exception):
    """The caller is not our push account; the message is for the log only."""


class Verifier:
    """Checks tokens against certificates that are fetched once an hour, and again for a key not seen before."""

    def __init__(self, certs_url: str, audience: str, account: str, http: httpx.AsyncClient) -> None:
        self._url, self._audience, self._account, self._http = certs_url, audience, account, http
        self._certs: dict[str, str] = {}
        self._fetched = float("-inf")

    async def verify(self, authorization: str) -> None:
        """Let a request pass, or not.

        Raises:
            Unauthorised: no token, or one that is forged, expired, for another audience or of another account.
            ServiceUnavailable: the certificates can't be had.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorised("no bearer token")
        claims = self._decode(token, await self.certificates(_key_id(token)))
        if claims.get("iss") not in ISSUERS:
            raise Unauthorised(f"issuer {claims.get('iss')!r}")
        if claims.get("email") != self._account or claims.get("email_verified") is not True:
            raise Unauthorised(f"account {claims.get('email')!r}")

    def _decode(self, token: str, certificates: dict[str, str]) -> dict[str, Any]:
        try:
            return dict(
                jwt.decode(
                    token, certs=certificates, audience=self._audience, clock_skew_in_seconds=CLOCK_SKEW_S
                )
            )  # fmt: skip
        except (exceptions.GoogleAuthError, ValueError) as error:
            raise Unauthorised(str(error)) from None

    async def certificates(self, key_id: str = "") -> dict[str, str]:
        """Certificates by key id. Raises ServiceUnavailable when there are none to be had."""
        age = time.monotonic() - self._fetched
        if age > MAX_AGE_S or (key_id not in self._certs and age > MIN_AGE_S):
            try:
                answer = (await self._http.get(self._url)).raise_for_status()
                self._certs, self._fetched = dict(answer.json()), time.monotonic()
            except (httpx.HTTPError, ValueError) as error:
                if not self._certs:
                    raise ServiceUnavailable(f"no certificates from {self._url}: {error}") from error
        return self._certs


def _key_id(token: str) -> str:
    try:
        return str(jwt.decode_header(token).get("kid", ""))
    except (exceptions.GoogleAuthError, ValueError) as error:
        raise Unauthorised(str(error)) from None
