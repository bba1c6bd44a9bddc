"""A client of Secret Manager and names of secrets in; their values, ages, or reasons why they are unusable, out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

from google.api_core.exceptions import (
    FailedPrecondition,
    GoogleAPICallError,
    NotFound,
    PermissionDenied,
    RetryError,
)
from google.api_core.retry import Retry, if_transient_error
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1 import SecretVersion
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from millrace.access import channel, credentials, denied
from millrace.domain.errors import AccessDenied, SecretError, ServiceUnavailable
from millrace.domain.remedies import Remedy

TIMEOUT_S = 30.0
ACCESS, DESCRIBE = "secretmanager.versions.access", "secretmanager.versions.get"
EXPIRY_NOTICE = timedelta(days=14)


class SecretAccess(Protocol):
    """Access to the Secret Manager of a project."""

    @property
    def project(self) -> Any:
        """Return the project's id."""
        ...

    def get_secret_manager_client(self) -> Any:
        """Return Google's client."""
        ...


@dataclass(frozen=True)
class SecretManager:
    """Access with the environment's identity, or without any to a server at `endpoint`."""

    project: str
    endpoint: str = ""

    def get_secret_manager_client(self) -> SecretManagerServiceClient:
        """Return Google's client, the same at each call."""
        return self._client

    @cached_property
    def _client(self) -> SecretManagerServiceClient:
        return local_client(self.endpoint) if self.endpoint else SecretManagerServiceClient(credentials=credentials())


def local_client(endpoint: str) -> SecretManagerServiceClient:
    """Return a client of the server at an address, with the environment's identity if it names one."""
    return SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel(endpoint)))


def read_secret(access: SecretAccess, name: str, version: str = "latest", *, timeout_s: float = TIMEOUT_S) -> str:
    """Return the value of a secret.

    Raises:
        SecretError: the secret is missing, disabled, not text or empty.
        AccessDenied: this process may not read the secret.
        ServiceUnavailable: Secret Manager did not answer.
    """
    path = f"projects/{access.project}/secrets/{name}/versions/{version}"
    hint = f"add one with `{Remedy.ADD_SECRET.filled(secret=name)}`"
    try:
        retry = Retry(if_transient_error, initial=0.1, maximum=5, timeout=timeout_s)
        client = access.get_secret_manager_client()
        answer = client.access_secret_version(name=path, retry=retry, timeout=timeout_s)
    except NotFound:
        raise SecretError(f"secret {name!r} does not exist or has no version ({path}); {hint}") from None
    except FailedPrecondition:
        raise SecretError(f"secret {name!r}: version {version} is disabled or destroyed ({path}); {hint}") from None
    except (GoogleAPICallError, RetryError) as error:
        raise _failure(error, path, ACCESS, access) from None
    try:
        value: str = answer.payload.data.decode()
    except UnicodeDecodeError:
        raise SecretError(f"secret {name!r} is not text ({path}); {hint}") from None
    if not value:
        raise SecretError(f"secret {name!r} is empty ({path}); {hint}")
    return value


@dataclass(frozen=True)
class SecretAge:
    """The time of a secret's newest version, and the time at which Secret Manager deletes the secret, if ever."""

    secret: str
    created_at: datetime
    expires_at: datetime | None

    def due_reason(self, now: datetime, max_age: timedelta) -> str:
        """Return the reason to rotate the secret: older than `max_age`, or about to expire; '' without a reason."""
        if self.expires_at is not None and self.expires_at - now < EXPIRY_NOTICE:
            return f"expires at {self.expires_at:%Y-%m-%d %H:%M} UTC"
        age = now - self.created_at
        return f"is {age.days} days old, {max_age.days} are allowed" if max_age and age > max_age else ""


def secret_ages(access: SecretAccess, names: Iterable[str], *, timeout_s: float = TIMEOUT_S) -> list[SecretAge]:
    """Return the ages of the secrets that exist; read no value.

    Raises:
        AccessDenied: this process may not describe a secret.
        ServiceUnavailable: Secret Manager did not answer.
    """
    client, ages = access.get_secret_manager_client(), []
    for name in names:
        path = f"projects/{access.project}/secrets/{name}"
        retry = Retry(if_transient_error, initial=0.1, maximum=5, timeout=timeout_s)
        try:
            secret = client.get_secret(name=path, retry=retry, timeout=timeout_s)
            newest = client.get_secret_version(name=f"{path}/versions/latest", retry=retry, timeout=timeout_s)
        except NotFound:
            continue
        except (GoogleAPICallError, RetryError) as error:
            raise _failure(error, path, DESCRIBE, access) from None
        ages.append(SecretAge(name, newest.create_time, secret.expire_time or None))
    return ages


def unusable_secrets(access: SecretAccess, names: Iterable[str], *, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Return the secrets whose newest version can't be read, with the reason; read no value.

    Raises:
        AccessDenied: this process may not describe a secret.
        ServiceUnavailable: Secret Manager did not answer.
    """
    client, unusable = access.get_secret_manager_client(), {}
    for name in names:
        path = f"projects/{access.project}/secrets/{name}/versions/latest"
        try:
            retry = Retry(if_transient_error, initial=0.1, maximum=5, timeout=timeout_s)
            version = client.get_secret_version(name=path, retry=retry, timeout=timeout_s)
        except NotFound:
            unusable[name] = "does not exist or has no version"
        except (GoogleAPICallError, RetryError) as error:
            raise _failure(error, path, DESCRIBE, access) from None
        else:
            if version.state != SecretVersion.State.ENABLED:
                unusable[name] = f"has its newest version {SecretVersion.State(version.state).name.lower()}"
    return unusable


def _failure(
    error: GoogleAPICallError | RetryError, path: str, permission: str, access: SecretAccess
) -> AccessDenied | ServiceUnavailable:
    if isinstance(error, PermissionDenied):
        return denied(error, path, permission, str(getattr(access, "endpoint", "") or ""))
    return ServiceUnavailable(f"Secret Manager did not answer for {path}: {error.message}")
