"""The platform's messages in; messages on Pub/Sub topics out."""

from google.api_core.exceptions import GoogleAPICallError, NotFound, PermissionDenied, RetryError
from google.api_core.retry import Retry, if_transient_error
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from millrace.access import channel, credentials, denied
from millrace.domain.errors import ServiceUnavailable, SettingsError
from millrace.domain.events import Message, attributes

TIMEOUT_S = 30.0


class EventBus:
    """The topics of one project on Pub/Sub, or on a server at `endpoint` with the same protocol."""

    def __init__(self, project: str, endpoint: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self.project, self.endpoint = project, endpoint
        self._timeout_s = timeout_s
        self._retry = Retry(if_transient_error, initial=0.1, maximum=5, timeout=timeout_s)  # default: 10 minutes
        transport = PublisherGrpcTransport(channel=channel(endpoint)) if endpoint else None
        self._client = PublisherClient(transport=transport, credentials=None if endpoint else credentials())

    def publish(self, message: Message) -> str:
        """Publish one message; return its id once the server has stored it.

        Raises:
            SettingsError: the project has no such topic.
            AccessDenied: this process may not publish on the topic.
            ServiceUnavailable: Pub/Sub did not accept the message; to publish again is safe, as readers deduplicate.
        """
        topic = f"projects/{self.project}/topics/{message.topic}"
        body = PubsubMessage(data=message.model_dump_json(by_alias=True).encode(), attributes=attributes(message))
        try:
            answer = self._client.publish(topic=topic, messages=[body], retry=self._retry, timeout=self._timeout_s)
        except NotFound:
            raise SettingsError(
                f"project {self.project!r} has no topic {message.topic!r}; create it, or correct events.project"
            ) from None
        except PermissionDenied as error:
            raise denied(error, topic, "pubsub.topics.publish", self.endpoint) from error
        except (GoogleAPICallError, RetryError) as error:
            raise ServiceUnavailable(f"{topic}: not published: {error}") from error
        return str(answer.message_ids[0])
