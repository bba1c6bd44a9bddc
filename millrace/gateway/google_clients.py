"""What the webhook needs of Google: a secret's newest value, and a topic. Imported on use: it takes a second."""

from functools import cache

import grpc
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from millrace.domain.errors import ServiceUnavailable
from millrace.events.bus import EventBus

TIMEOUT_S = 10.0


def newest_secret(project: str, name: str, endpoint: str = "") -> str:
    """Newest value of a secret in Secret Manager, or in the one at `endpoint`.

    Raises:
        ServiceUnavailable: it does not exist, is disabled or empty, we may not read it, or nobody answered.
    """
    path = f"projects/{project}/secrets/{name}/versions/latest"
    try:
        answer = _manager(endpoint).access_secret_version(name=path, timeout=TIMEOUT_S)
        value: str = answer.payload.data.decode().strip()
    except (GoogleAPICallError, GoogleAuthError, RetryError, UnicodeDecodeError) as error:
        raise ServiceUnavailable(f"{path}: {error}") from error
    if not value:
        raise ServiceUnavailable(f"{path} is empty")
    return value


@cache
def event_bus(project: str, endpoint: str = "") -> EventBus:
    """The topics of a project."""
    return EventBus(project, endpoint, TIMEOUT_S)


@cache
def _manager(endpoint: str) -> SecretManagerServiceClient:
    channel = grpc.insecure_channel(endpoint) if endpoint else None
    return SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel) if channel else None)
