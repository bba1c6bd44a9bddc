"""Dead-letter subscriptions in; their messages, to list, publish again or drop, out."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from google.api_core.exceptions import GoogleAPICallError, NotFound, PermissionDenied, RetryError
from google.api_core.retry import Retry, if_transient_error
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage

from millrace.access import channel, credentials, denied
from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable, SettingsError

TIMEOUT_S = 30.0
HOLD_S = 600  # the longest that Pub/Sub allows
MOST = 1000
PREFIX = "CloudPubSubDeadLetterSource"  # https://cloud.google.com/pubsub/docs/handling-failures#dead_letter_topic


@dataclass(frozen=True)
class DeadLetter:
    """A message that Pub/Sub could not deliver; `attributes` and `data` are those of its publisher."""

    topic: str
    id: str
    published: str
    attempts: int
    subscription: str
    attributes: dict[str, str]
    data: bytes
    ordering_key: str = ""
    ack_id: str = field(default="", repr=False)

    @property
    def origin(self) -> str:
        """Return the id of the first dead letter of this message; it stays the same when it is published again."""
        return self.attributes.get(names.ORIGIN_ATTRIBUTE) or self.id


class DeadLetters:
    """The dead letters of a project's topics on Pub/Sub, or on a server at `endpoint` with the same protocol."""

    def __init__(self, project: str, endpoint: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self.project, self._endpoint = project, endpoint
        retry = Retry(if_transient_error, initial=0.1, maximum=5, timeout=timeout_s)
        self._limits = {"retry": retry, "timeout": timeout_s}
        if endpoint:
            own = channel(endpoint)
            self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=own))
            self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=own))
        else:
            self._publisher = PublisherClient(credentials=credentials())
            self._subscriber = SubscriberClient(credentials=credentials())

    @contextmanager
    def hold(self, topic: str, at_most: int = MOST) -> Iterator[list[DeadLetter]]:
        """Yield the dead letters of a topic, oldest first; hide them from other readers until the context ends.

        Raises:
            SettingsError: the topic has no dead-letter subscription.
            AccessDenied: this process may not read it.
            ServiceUnavailable: Pub/Sub did not answer.
        """
        messages: dict[str, ReceivedMessage] = {}
        try:
            with self._converting_errors(topic):
                while len(messages) < at_most and (received := self._pull(topic, at_most - len(messages))):
                    self._set_deadline(topic, [r.ack_id for r in received], HOLD_S)
                    messages |= {r.message.message_id: r for r in received}
            yield sorted((_letter(topic, r) for r in messages.values()), key=lambda letter: letter.published)
        finally:
            with self._converting_errors(topic):
                self._set_deadline(topic, [r.ack_id for r in messages.values()], 0)  # has no effect on removed ones

    def redrive(self, letter: DeadLetter) -> str:
        """Publish a held letter on its topic again, then remove it; return its new id.

        After a crash in between it is published twice: both messages carry the origin's id, and become one event.

        Raises:
            SettingsError: the topic is gone.
            ServiceUnavailable: Pub/Sub did not accept the message; the letter stays.
        """
        message = PubsubMessage(
            data=letter.data,
            ordering_key=letter.ordering_key,
            attributes=letter.attributes | {names.ORIGIN_ATTRIBUTE: letter.origin},
        )
        topic = f"projects/{self.project}/topics/{letter.topic}"
        with self._converting_errors(letter.topic, publishing=True):
            answer = self._publisher.publish(topic=topic, messages=[message], **self._limits)
        self.drop(letter)
        return str(answer.message_ids[0])

    def drop(self, letter: DeadLetter) -> None:
        """Remove a held letter permanently.

        Raises:
            ServiceUnavailable: Pub/Sub did not answer; the letter stays.
        """
        with self._converting_errors(letter.topic):
            self._subscriber.acknowledge(
                subscription=self._subscription(letter.topic), ack_ids=[letter.ack_id], **self._limits
            )

    def _pull(self, topic: str, at_most: int) -> list[ReceivedMessage]:
        request = {"subscription": self._subscription(topic), "max_messages": at_most, "return_immediately": True}
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # else an empty pull waits 90 s
            return list(self._subscriber.pull(request=request, **self._limits).received_messages)

    def _set_deadline(self, topic: str, ack_ids: list[str], seconds: int) -> None:
        if ack_ids:
            self._subscriber.modify_ack_deadline(
                subscription=self._subscription(topic),
                ack_ids=ack_ids,
                ack_deadline_seconds=seconds,
                **self._limits,
            )

    def _subscription(self, topic: str) -> str:
        return f"projects/{self.project}/subscriptions/{names.dead_letter_subscription(topic)}"

    @contextmanager
    def _converting_errors(self, topic: str, *, publishing: bool = False) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            raise SettingsError(
                f"project {self.project!r} lacks topic {topic!r} or {names.dead_letter_subscription(topic)!r}: create"
                f" them, or correct events.project ({error.message})"
            ) from None
        except PermissionDenied as error:
            resource, permission = self._subscription(topic), "pubsub.subscriptions.consume"
            if publishing:
                resource, permission = f"projects/{self.project}/topics/{topic}", "pubsub.topics.publish"
            raise denied(error, resource, permission, self._endpoint) from error
        except (GoogleAPICallError, RetryError) as error:
            raise ServiceUnavailable(f"Pub/Sub: dead letters of {topic}: {error}") from error


def _letter(topic: str, received: ReceivedMessage) -> DeadLetter:
    message, attributes = received.message, dict(received.message.attributes)
    return DeadLetter(
        topic=topic,
        id=message.message_id,
        published=attributes.get(f"{PREFIX}TopicPublishTime") or message.publish_time.isoformat(),
        attempts=int(attributes.get(f"{PREFIX}DeliveryCount") or 0),
        subscription=attributes.get(f"{PREFIX}Subscription", ""),
        attributes={k: v for k, v in attributes.items() if not k.startswith(PREFIX)},
        data=message.data,
        ordering_key=message.ordering_key,
        ack_id=received.ack_id,
    )
