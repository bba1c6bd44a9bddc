"""The topics' pull subscriptions in, Prefect events out: the gateway of a cluster that Pub/Sub can't push into."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler
from google.cloud.pubsub_v1.types import FlowControl
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from millrace.access import channel
from millrace.domain import names
from millrace.domain.errors import EventRefused, ServiceUnavailable
from millrace.events.message import Incoming
from millrace.events.translate import translate
from millrace.gateway.landings import Landings
from millrace.gateway.logs import log_event

AT_ONCE = 100  # messages of a subscription in work at a time: landings wait for each other
BETWEEN_TRIES_S = 0.5

Received = Any  # google.cloud.pubsub_v1.subscriber.message.Message; the package has no types here


class Puller:
    """A listener that acknowledges a message only after Prefect has its event.

    A message that can never succeed is returned, so that Pub/Sub dead-letters it after its attempts; while Prefect
    does not answer, messages are held and their leases extended, which costs no attempt.
    """

    def __init__(self, project: str, endpoint: str, events: Landings, failed: Callable[[], None]) -> None:
        transport = SubscriberGrpcTransport(channel=channel(endpoint)) if endpoint else None
        self._client = SubscriberClient(transport=transport)
        self._project, self._events, self._failed = project, events, failed
        self._ending = asyncio.Event()
        self._streams: list[Any] = []  # StreamingPullFuture, untyped

    def start(self, topics: Sequence[str]) -> None:
        """Listen to the subscriptions of topics; call `failed` when the listener of one ends with an error."""
        loop = asyncio.get_running_loop()
        for topic in topics:
            subscription = self._client.subscription_path(self._project, names.pull_subscription(topic))
            stream = self._client.subscribe(
                subscription,
                self._callback(topic, loop),
                FlowControl(max_messages=AT_ONCE),
                ThreadScheduler(ThreadPoolExecutor(AT_ONCE, f"pull-{topic}")),
                await_callbacks_on_shutdown=True,
            )
            stream.add_done_callback(
                lambda ended, name=subscription: loop.call_soon_threadsafe(self._over, name, ended)
            )
            self._streams.append(stream)
            log_event("gateway.pulling", subscription=subscription)

    async def stop(self) -> None:
        """Finish the messages in work and return all others."""
        self._ending.set()
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*(asyncio.to_thread(_wait, stream) for stream in self._streams))
        self._client.close()

    def _over(self, subscription: str, ended: "Future[None]") -> None:
        if not self._ending.is_set():
            log_event("gateway.pull_ended", subscription=subscription, why=str(ended.exception()))
            self._failed()

    def _callback(self, topic: str, loop: asyncio.AbstractEventLoop) -> Callable[[Received], None]:
        def take(received: Received) -> None:
            handled = asyncio.run_coroutine_threadsafe(self._take(topic, received), loop).result()
            received.ack() if handled else received.nack()

        return take

    async def _take(self, topic: str, received: Received) -> bool:
        """Return true when a message is handled, false when it can't be."""
        fields = {"topic": topic, "message_id": received.message_id, "attempt": received.delivery_attempt or 0}
        try:
            event = translate(topic, to_incoming(received))
            if event is None:
                log_event("gateway.ignored", **fields)
                return True
            while not self._ending.is_set():
                try:
                    sent = await self._events.hand_over(event)
                except ServiceUnavailable as error:
                    log_event("gateway.unavailable", **fields, why=str(error))
                    await self._pause()
                else:
                    resource = event.resource["prefect.resource.id"]
                    log_event("gateway.accepted", **fields, name=event.name, resource=resource, event_id=sent.id)
                    return True
        except EventRefused as error:
            log_event("gateway.refused", **fields, why=str(error))
        return False

    async def _pause(self) -> None:
        """Wait until the next try, or until the end."""
        try:
            await asyncio.wait_for(self._ending.wait(), max(BETWEEN_TRIES_S, self._events.pause_s))
        except TimeoutError:
            return


def to_incoming(received: Received) -> Incoming:
    """Return a pulled message in the type of a pushed one."""
    return Incoming(
        message_id=received.message_id,
        publish_time=received.publish_time.isoformat().replace("+00:00", "Z"),
        attributes=dict(received.attributes),
        data=received.data,
        attempt=received.delivery_attempt or 0,
    )


def _wait(stream: Any) -> None:
    try:
        stream.result()
    except Exception:  # `_over` has logged the reason
        return
