"""Settings of the webhook in; its secret's newest value, and a client of its topic, out. Its import takes a second."""

from functools import cache

from google.auth.exceptions import GoogleAuthError

from millrace.domain.errors import AccessDenied, SecretError, ServiceUnavailable
from millrace.events.bus import EventBus
from millrace.secrets import SecretManager, read_secret

TIMEOUT_S = 10.0


def newest_secret(project: str, name: str, endpoint: str = "") -> str:
    """Return the newest value of a secret, stripped.

    Raises:
        ServiceUnavailable: the secret can't be read, or is blank; a later call may succeed, after it was corrected.
    """
    try:
        value = read_secret(_secret_manager(project, endpoint), name, timeout_s=TIMEOUT_S).strip()
    except (AccessDenied, SecretError, GoogleAuthError) as error:
        raise ServiceUnavailable(str(error)) from error
    if not value:
        raise ServiceUnavailable(f"secret {name!r} is blank")
    return value


@cache
def event_bus(project: str, endpoint: str = "") -> EventBus:
    """Return the client of a project's topics."""
    return EventBus(project, endpoint, TIMEOUT_S)


@cache
def _secret_manager(project: str, endpoint: str) -> SecretManager:
    return SecretManager(project, endpoint)
