"""A target in; Google's own clients for it out, with the credentials of the person or account that runs the kit."""

from functools import cached_property
from typing import Any

import google.auth
import grpc
from google.api_core.exceptions import GoogleAPICallError, from_http_response
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from tests.cloud.discovery import Json
from tests.cloud.target import Target

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
TIMEOUT_S = 30.0
RETRY = Retry(if_exception_type(ConnectionError), initial=0.5, maximum=4, timeout=20)


class Clients:
    """Clients, made on first use."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @cached_property
    def credentials(self) -> Any:
        """Return the default credentials; where every service is another server, none are needed."""
        try:
            default, _ = google.auth.default(scopes=SCOPES)
        except DefaultCredentialsError:
            if self.target.is_google or not all(self.target.endpoint(name) for name in ("storage", "pubsub")):
                raise
            return AnonymousCredentials()
        return default

    @cached_property
    def session(self) -> Any:
        """Return a session that sends the credentials."""
        return AuthorizedSession(self.credentials)

    def rest(self, service: str, verb: str, path: str, body: Json | None = None, **query: Any) -> Json:
        """Call a method of a REST API. Raises the error classes of Google's clients."""
        return dict(self.answer(service, verb, path, body, **query).json() or {})

    def answer(self, service: str, verb: str, path: str, body: Json | None = None, **query: Any) -> Any:
        """Return the whole answer of a method."""
        url = f"{self.target.base(service)}{path}"
        answer = RETRY(self.session.request)(verb, url, json=body, params=query or None, timeout=TIMEOUT_S)
        if answer.status_code >= 400:
            raise from_http_response(answer)
        return answer

    def delete(self, service: str, path: str, **query: Any) -> None:
        """Delete a resource; one that is gone already is no error."""
        url = f"{self.target.base(service)}{path}"
        answer = RETRY(self.session.request)("DELETE", url, params=query or None, timeout=TIMEOUT_S)
        if answer.status_code >= 400 and answer.status_code != 404:
            raise from_http_response(answer)

    @cached_property
    def storage(self) -> storage.Client:
        """Return a client of Cloud Storage."""
        endpoint = self.target.endpoint("storage")
        options = {"api_endpoint": endpoint} if endpoint else None
        return storage.Client(self.target.project, credentials=self.credentials, client_options=options)

    @cached_property
    def publisher(self) -> PublisherClient:
        """Return a client of topics."""
        endpoint = self.target.endpoint("pubsub")
        if not endpoint:
            return PublisherClient(credentials=self.credentials)
        return PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(endpoint)))

    @cached_property
    def subscriber(self) -> SubscriberClient:
        """Return a client of subscriptions."""
        endpoint = self.target.endpoint("pubsub")
        if not endpoint:
            return SubscriberClient(credentials=self.credentials)
        return SubscriberClient(transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(endpoint)))

    @cached_property
    def secrets(self) -> SecretManagerServiceClient:
        """Return a client of Secret Manager."""
        endpoint = self.target.endpoint("secretmanager")
        if not endpoint:
            return SecretManagerServiceClient(credentials=self.credentials)
        channel = grpc.insecure_channel(endpoint)
        return SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))

    def path(self, kind: str, name: str) -> str:
        """Return the full name of a topic, subscription or secret."""
        return f"projects/{self.target.project}/{kind}/{name}"


def reason(error: GoogleAPICallError) -> str:
    """Return Google's reason for an error, such as SERVICE_DISABLED, '' when it gives none."""
    own = getattr(error, "reason", None)
    if own:
        return str(own)
    errors = [entry for entry in error.errors or () if isinstance(entry, dict)]
    return str(errors[0].get("reason", "")) if errors else ""
