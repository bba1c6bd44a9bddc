"""Who pushes: checks the token that Pub/Sub signs for its push account."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
from google.auth import exceptions, jwt

from millrace.domain.errors import ServiceUnavailable
from millrace.gateway.logs import tell

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
FRESH_S = 3600.0
USABLE_S = 24 * 3600.0  # Google's keys are valid for days; a withdrawn one must not be for ever
BETWEEN_FETCHES_S, BETWEEN_FIRST_FETCHES_S = 10.0, 1.0
FETCH_TIMEOUT_S = 5.0
CLOCK_SKEW_S = 30
LONGEST_TOKEN = 8192


class Unauthorised(Exception):
    """The caller is not who may call; the message is for the log only."""


class Certificates:
    """Google's certificates: kept for an hour, and fetched again for a key not seen before.

    Whatever callers send, there is at most one fetch in `BETWEEN_FETCHES_S`, and one at a time.
    """

    def __init__(self, url: str, http: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._http, self._clock = url, http, clock
        self._certs: dict[str, str] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def by_key(self, key_id: str = "") -> dict[str, str]:
        """All certificates by key id, fetched anew when `key_id` is not among them or they are old.

        Raises:
            ServiceUnavailable: there are none, or only some that are older than `USABLE_S`.
        """
        if self._wants(key_id) and not (key_id in self._certs and self._fetching.locked()):
            async with self._fetching:
                if self._wants(key_id):
                    await self._fetch()
        if self._clock() - self._fetched > USABLE_S:
            raise ServiceUnavailable(f"no certificates from {self._url}")
        return self._certs

    def _wants(self, key_id: str) -> bool:
        now = self._clock()
        missing = bool(key_id) and key_id not in self._certs
        patience = BETWEEN_FETCHES_S if self._certs else BETWEEN_FIRST_FETCHES_S
        return (missing or now - self._fetched > FRESH_S) and now - self._tried > patience

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                answer = (await self._http.get(self._url)).raise_for_status()
            self._certs, self._fetched = {str(k): str(v) for k, v in answer.json().items()}, self._clock()
        except (httpx.HTTPError, TimeoutError, ValueError, AttributeError) as error:
            tell("gateway.certificates_away", why=f"{self._url}: {str(error) or type(error).__name__}")
        finally:
            self._tried = self._clock()  # not before: who comes meanwhile waits for this one


class Verifier:
    """Lets pass only what Google signed for our push account and our audience."""

    def __init__(self, certificates: Certificates, audience: str, account: str) -> None:
        self._certificates, self._audience, self._account = certificates, audience, account

    async def verify(self, authorization: str) -> None:
        """Let a request pass, or not.

        Raises:
            Unauthorised: no token, or one that is forged, expired, for another audience or of another account.
            ServiceUnavailable: the certificates can't be had.
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
    """The key that a token names. What is no such token is refused without its text: it may be another's secret."""
    try:
        header = jwt.decode_header(token)
    except (exceptions.GoogleAuthError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unauthorised(f"no JSON web token ({type(error).__name__})") from None
    if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
        raise Unauthorised(f"algorithm {header.get('alg')!r}, key id {header.get('kid')!r}")
    return str(header["kid"])
