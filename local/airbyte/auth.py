"""Client credentials in, short-lived bearer tokens out."""

import hmac
import json
import os
import secrets
import time
from pathlib import Path

LIFETIME_S = 900
ENVIRONMENT = ("MILLRACE_AIRBYTE_CLIENT_ID", "MILLRACE_AIRBYTE_CLIENT_SECRET")


class Tokens:
    """Tokens that were given out; a restart forgets them, and clients ask anew."""

    def __init__(self, client_id: str, client_secret: str, lifetime_s: float = LIFETIME_S) -> None:
        self._credentials, self._lifetime_s = (client_id, client_secret), lifetime_s
        self._valid_until: dict[str, float] = {}

    def issue(self, client_id: str, client_secret: str, now: float) -> str | None:
        """A new token, or None for wrong credentials."""
        given = (client_id, client_secret)
        right = [hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._credentials, strict=True)]
        if not all(right):
            return None
        self._valid_until = {token: until for token, until in self._valid_until.items() if until > now}
        token = secrets.token_urlsafe(32)
        self._valid_until[token] = now + self._lifetime_s
        return token

    def valid(self, token: str, now: float) -> bool:
        """Whether a token may be used."""
        return self._valid_until.get(token, 0.0) > now


def load_tokens(state: Path) -> Tokens:
    """Tokens for the credentials of the environment, else for those of a file, which is made when absent."""
    client_id, client_secret = (os.environ.get(name, "") for name in ENVIRONMENT)
    if not (client_id and client_secret):
        file = state / "credentials.json"
        if not file.exists():
            made = {"client_id": secrets.token_urlsafe(16), "client_secret": secrets.token_urlsafe(32)}
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                json.dump(made, stream, indent=1)
        kept = json.loads(file.read_text())
        client_id, client_secret = kept["client_id"], kept["client_secret"]
    return Tokens(client_id, client_secret)


def now() -> float:
    """The clock that tokens age by."""
    return time.monotonic()
