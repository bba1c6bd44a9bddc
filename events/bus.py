"""Publishes the platform's messages on Pub/Sub."""

import grpc
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from contracts.errors import ServiceUnavailable
from contracts.events import Message, attributes

TIMEOUT_S = 30.0


class EventBus:
    """Topics of one project on Pub/Sub, or on a server at `endpoint` that speaks its protocol."""

    def __init__(self, project: str, endpoint: str = "") -> None:
        self.project, self.endpoint = project, endpoint
        transport = PublisherGrpcTransport(channel=grpc.insecure_channel(endpoint)) if endpoint else None
        self._client = PublisherClient(transport=transport)

    def publish(self, message: Message) -> str:
        """Publish one message; returns its id once the server has it for good.

        Raises:
            ServiceUnavailable: Pub/Sub did not take it; publishing again is safe, readers deduplicate by content.
        """
        topic = f"projects/{self.project}/topics/{message.topic}"
        body = PubsubMessage(data=message.model_dump_json().encode(), attributes=attributes(message))
        try:
            answer = self._client.publish(topic=topic, messages=[body], timeout=TIMEOUT_S)
        except (GoogleAPICallError, RetryError) as error:
            raise ServiceUnavailable(f"{topic}: not published: {error}") from error
        return str(answer.message_ids[0])
