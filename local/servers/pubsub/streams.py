"""Streaming pull: one stream's deliveries, with flow control, acknowledgements on the stream and signs of life."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from google.pubsub_v1 import types

from local.servers.pubsub.broker import Broker
from local.servers.pubsub.window import Window
from local.servers.rpc import Proto, RpcError

BATCH = 100
UNSENT = 100  # answers that a client may leave unread before its next requests wait
LOOK_AGAIN_S = 1.0
Response: Proto = types.StreamingPullResponse.pb()
Received: Proto = types.ReceivedMessage.pb()
Find = Callable[[str], Proto]


class Stream:
    """One call of StreamingPull; `find` returns the current subscription, or raises."""

    def __init__(self, broker: Broker, find: Find, first: Proto) -> None:
        self._broker, self._find = broker, find
        self._name: str = find(first.subscription).name
        self._seconds: int = first.stream_ack_deadline_seconds
        self._window = Window.of(first.max_outstanding_messages, first.max_outstanding_bytes)
        self._answers: asyncio.Queue[Proto] = asyncio.Queue(UNSENT)
        self._news = asyncio.Event()
        self._first = first

    async def responses(self, requests: AsyncIterator[Proto]) -> AsyncIterator[Proto]:
        """Deliver as messages come, until the client ends the stream.

        Raises:
            RpcError: the subscription was deleted or detached, or a request on the stream is wrong.
        """
        hearing = asyncio.create_task(self._hear(requests))
        hearing.add_done_callback(lambda _: self._news.set())
        try:
            with self._broker.watching(self._name, self._window):
                while not hearing.done():
                    self._news.clear()
                    subscription = self._find(self._name)
                    if response := self._next(subscription):
                        yield response
                    else:
                        await self._rest(subscription)
            hearing.result()
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError, RpcError):
                await hearing

    def _next(self, subscription: Proto) -> Proto | None:
        properties = {
            "exactly_once_delivery_enabled": subscription.enable_exactly_once_delivery,
            "message_ordering_enabled": subscription.enable_message_ordering,
        }
        if not self._answers.empty():
            answer = self._answers.get_nowait()
            answer.subscription_properties.MergeFrom(Response.SubscriptionProperties(**properties))
            return answer
        leases = self._broker.take(subscription, BATCH, self._seconds, self._window)
        if not leases:
            return None
        counts = subscription.HasField("dead_letter_policy")
        received = [
            Received(ack_id=lease.ack_id, message=lease.message, delivery_attempt=lease.attempt if counts else 0)
            for lease in leases
        ]
        return Response(received_messages=received, subscription_properties=properties)

    async def _rest(self, subscription: Proto) -> None:
        if self._window.room(self._broker.store.now())[0]:
            await self._broker.wait(subscription, LOOK_AGAIN_S, self._news)
        else:
            await self._broker.wait_for_news(self._name, LOOK_AGAIN_S, self._news)

    async def _hear(self, requests: AsyncIterator[Proto]) -> None:
        await self._heed(self._first)
        async for request in requests:
            if request.subscription:
                raise RpcError("INVALID_ARGUMENT", "only a stream's first request names the subscription")
            await self._heed(request, alive=True)

    async def _heed(self, request: Proto, *, alive: bool = False) -> None:
        subscription, answer = self._find(self._name), Response()
        exactly_once = subscription.enable_exactly_once_delivery
        if request.stream_ack_deadline_seconds:
            self._seconds = request.stream_ack_deadline_seconds
        if request.ack_ids:
            invalid = self._broker.acknowledge(subscription, request.ack_ids)
            if exactly_once:
                self._confirm(answer.acknowledge_confirmation, request.ack_ids, invalid)
        if request.modify_deadline_ack_ids:
            invalid = []
            moves = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=False)
            for ack_id, seconds in moves:
                invalid += self._broker.extend(subscription, [ack_id], seconds)
            if exactly_once:
                self._confirm(answer.modify_ack_deadline_confirmation, request.modify_deadline_ack_ids, invalid)
        quiet = not request.ack_ids and not request.modify_deadline_ack_ids
        if answer.ByteSize() or (alive and quiet):  # an empty request is a keep-alive, and gets an empty answer
            await self._answers.put(answer)
            self._news.set()

    @staticmethod
    def _confirm(confirmation: Proto, ack_ids: list[str], invalid: list[str]) -> None:
        confirmation.ack_ids.extend(ack_id for ack_id in ack_ids if ack_id not in invalid)
        confirmation.invalid_ack_ids.extend(invalid)
