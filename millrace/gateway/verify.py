"""A request's `Authorization` header in; an error out unless its token is Google's for our push account."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
from google.auth import exceptions, jwt

from millrace.domain.errors import ServiceUnavailable
from millrace.gateway.refreshed import Ages, Refreshed

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
AGES = Ages(fresh_s=3600, usable_s=24 * 3600, apart_s=10)  # Google's keys are valid for days, but may be withdrawn
FETCH_TIMEOUT_S = 5.0
CLOCK_SKEW_S = 30
LONGEST_TOKEN = 8192


class Unauthorised(Exception):
    """The caller is not authorised; the message is for the log only."""


class Certificates:
    """Google's certificates: fetched every hour, and for an unknown key id at most once in ten seconds."""

    def __init__(self, url: str, http: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._http = url, http
        self._certificates = Refreshed(self._fetch, dict[str, str](), AGES, "gateway.certificates_away", clock)

    async def by_key(self, key_id: str = "") -> dict[str, str]:
        """Return all certificates by key id; fetch them before if they are old or lack `key_id`.

        Raises:
            ServiceUnavailable: no certificates were fetched within `AGES.usable_s`.
        """
        try:
            return await self._certificates.get(lambda certificates: not key_id or key_id in certificates)
        except ServiceUnavailable:
            raise ServiceUnavailable(f"no certificates from {self._url}") from None

    async def _fetch(self) -> dict[str, str]:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                answer = (await self._http.get(self._url)).raise_for_status()
            return {str(key): str(value) for key, value in answer.json().items()}
        except (httpx.HTTPError, TimeoutError, ValueError, AttributeError) as error:
            raise ServiceUnavailable(f"{self._url}: {str(error) or type(error).__name__}") from None


class Verifier:
    """A check of tokens: accepts those that Google signed for our push account and our audience."""

    def __init__(self, certificates: Certificates, audience: str, account: str) -> None:
        self._certificates, self._audience, self._account = certificates, audience, account

    async def verify(self, authorization: str) -> None:
        """Check a request's token.

        Raises:
            Unauthorised: the token is missing, forged, expired, for another audience or of another account.
            ServiceUnavailable: no certificates are available.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorised("no bearer token")
        if len(token) > LONGEST_TOKEN:
            raise Unauthorised(f"a token of {len(token)} characters")
        claims = self._decode(token, await self._certificates.by_key(_key_id(token)))
        if claims.get("iss") not in ISSUERS:
            raise Unauthorised(f"issuer {claims.get('iss')!r}")
        if claims.get("email") != self._account or claims.get("email_verified") is not True:
            raise Unauthorised(f"account {claims.get('email')!r}, verified: {claims.get('email_verified')!r}")

    def _decode(self, token: str, certificates: dict[str, str]) -> dict[str, Any]:
        try:
            return dict(
                jwt.decode(token, certs=certificates, audience=self._audience, clock_skew_in_seconds=CLOCK_SKEW_S)
            )
        except (exceptions.GoogleAuthError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Unauthorised(str(error)) from None


def _key_id(token: str) -> str:
    """Return the key id of a token; an invalid token is never logged, as it may be another service's secret."""
    try:
        header = jwt.decode_header(token)
    except (exceptions.GoogleAuthError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unauthorised(f"not a JSON web token ({type(error).__name__})") from None
    if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
        raise Unauthorised(f"algorithm {header.get('alg')!r}, key id {header.get('kid')!r}")
    return str(header["kid"])
