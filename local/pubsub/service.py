"""The gRPC methods of Publisher and Subscriber over a broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from local.pubsub.broker import Broker, passes
from local.rpc import Method, Proto, Refused, abort, page

LONG_POLL_S = 5.0
STREAM_BATCH = 100
MAX_MESSAGE = 10 * 1024 * 1024
DELETED_TOPIC = "_deleted-topic_"
ATTEMPTS = (5, 100)  # https://cloud.google.com/pubsub/docs/handling-failures
UNCHANGEABLE = ("name", "topic", "filter", "enable_message_ordering")
Changed = Callable[[str], None]


def pb(name: str) -> Proto:
    """Raw protobuf class of a Pub/Sub type."""
    return getattr(types, name).pb()


class PublisherService:
    """Topics and publishing."""

    def __init__(self, broker: Broker) -> None:
        self._broker, self._store = broker, broker.store

    def methods(self) -> dict[str, Any]:
        """What gRPC registers."""
        table = {
            "CreateTopic": Method(pb("Topic"), pb("Topic"), self.create),
            "GetTopic": Method(pb("GetTopicRequest"), pb("Topic"), self.get),
            "ListTopics": Method(pb("ListTopicsRequest"), pb("ListTopicsResponse"), self.list),
            "DeleteTopic": Method(pb("DeleteTopicRequest"), Empty, self.delete),
            "ListTopicSubscriptions": Method(
                pb("ListTopicSubscriptionsRequest"), pb("ListTopicSubscriptionsResponse"), self.subscriptions
            ),
            "Publish": Method(pb("PublishRequest"), pb("PublishResponse"), self.publish),
        }
        return {name: method.handler() for name, method in table.items()}

    def _known(self, topic: str) -> str:
        if topic not in self._store.topics():
            raise Refused("NOT_FOUND", f"Resource not found (resource={topic.split('/')[-1]}).")
        return topic

    async def create(self, request: Proto) -> Proto:
        """Make a topic."""
        if not self._store.add_topic(request.name):
            raise Refused("ALREADY_EXISTS", f"Resource already exists in the project (resource={request.name}).")
        return request

    async def get(self, request: Proto) -> Proto:
        """A topic."""
        return pb("Topic")(name=self._known(request.topic))

    async def list(self, request: Proto) -> Proto:
        """Topics of a project."""
        mine = [t for t in self._store.topics() if t.startswith(f"{request.project}/")]
        names, token = page(mine, request.page_size, request.page_token)
        return pb("ListTopicsResponse")(topics=[pb("Topic")(name=n) for n in names], next_page_token=token)

    async def delete(self, request: Proto) -> Proto:
        """Delete a topic."""
        self._store.drop_topic(self._known(request.topic))
        for subscription in self._broker.subscriptions.values():
            if subscription.topic == request.topic:  # else a new topic of this name would reach it
                subscription.topic = DELETED_TOPIC
                self._store.put_subscription(subscription, new=False)
        return Empty()

    async def subscriptions(self, request: Proto) -> Proto:
        """Subscriptions of a topic."""
        mine = [s.name for s in self._broker.subscriptions.values() if s.topic == self._known(request.topic)]
        names, token = page(mine, request.page_size, request.page_token)
        return pb("ListTopicSubscriptionsResponse")(subscriptions=names, next_page_token=token)

    async def publish(self, request: Proto) -> Proto:
        """Keep messages; answered only when they are on disk."""
        topic = self._known(request.topic)
        if not request.messages:
            raise Refused("INVALID_ARGUMENT", "The value for message_count is too small; it must be at least 1.")
        for message in request.messages:
            if message.ByteSize() > MAX_MESSAGE:
                raise Refused("INVALID_ARGUMENT", f"a message has {message.ByteSize()} bytes; at most {MAX_MESSAGE}")
            if not message.data and not message.attributes:
                raise Refused("INVALID_ARGUMENT", "a message must have data or attributes")
        return pb("PublishResponse")(message_ids=self._broker.publish(topic, request.messages))


class SubscriberService:
    """Subscriptions and what they deliver."""

    def __init__(self, broker: Broker, changed: Changed) -> None:
        self._broker, self._store, self._changed = broker, broker.store, changed

    def methods(self) -> dict[str, Any]:
        """What gRPC registers."""
        sub = pb("Subscription")
        table = {
            "CreateSubscription": Method(sub, sub, self.create),
            "GetSubscription": Method(pb("GetSubscriptionRequest"), sub, self.get),
            "UpdateSubscription": Method(pb("UpdateSubscriptionRequest"), sub, self.update),
            "ListSubscriptions": Method(pb("ListSubscriptionsRequest"), pb("ListSubscriptionsResponse"), self.list),
            "DeleteSubscription": Method(pb("DeleteSubscriptionRequest"), Empty, self.delete),
            "ModifyPushConfig": Method(pb("ModifyPushConfigRequest"), Empty, self.modify_push),
            "Pull": Method(pb("PullRequest"), pb("PullResponse"), self.pull),
            "Acknowledge": Method(pb("AcknowledgeRequest"), Empty, self.acknowledge),
            "ModifyAckDeadline": Method(pb("ModifyAckDeadlineRequest"), Empty, self.extend),
        }
        streaming = grpc.stream_stream_rpc_method_handler(
            self.stream,
            request_deserializer=pb("StreamingPullRequest").FromString,
            response_serializer=pb("StreamingPullResponse").SerializeToString,
        )
        return {name: method.handler() for name, method in table.items()} | {"StreamingPull": streaming}

    def _known(self, name: str) -> Proto:
        if name not in self._broker.subscriptions:
            raise Refused("NOT_FOUND", f"Resource not found (resource={name.split('/')[-1]}).")
        return self._broker.subscriptions[name]

    def _put(self, subscription: Proto, *, new: bool = False) -> Proto:
        passes(subscription.filter, pb("PubsubMessage")())  # refuses a malformed one
        subscription.ack_deadline_seconds = subscription.ack_deadline_seconds or 10
        if subscription.HasField("dead_letter_policy"):
            policy = subscription.dead_letter_policy
            policy.max_delivery_attempts = policy.max_delivery_attempts or ATTEMPTS[0]
            if not ATTEMPTS[0] <= policy.max_delivery_attempts <= ATTEMPTS[1]:
                raise Refused("INVALID_ARGUMENT", f"max_delivery_attempts must be from {ATTEMPTS[0]} to {ATTEMPTS[1]}")
        if not self._store.put_subscription(subscription, new=new):
            raise Refused("ALREADY_EXISTS", f"Resource already exists in the project (resource={subscription.name}).")
        self._broker.subscriptions[subscription.name] = subscription
        self._changed(subscription.name)
        return subscription

    async def create(self, request: Proto) -> Proto:
        """Make a subscription."""
        if request.topic not in self._store.topics():
            raise Refused("NOT_FOUND", f"Resource not found (resource={request.topic.split('/')[-1]}).")
        return self._put(request, new=True)

    async def get(self, request: Proto) -> Proto:
        """A subscription."""
        return self._known(request.subscription)

    async def update(self, request: Proto) -> Proto:
        """Change the fields that the mask names."""
        merged = pb("Subscription")()
        merged.CopyFrom(self._known(request.subscription.name))
        for path in request.update_mask.paths:
            if path in UNCHANGEABLE or path not in merged.DESCRIPTOR.fields_by_name:
                raise Refused("INVALID_ARGUMENT", f"{path} of a subscription can't be changed")
            merged.ClearField(path)
            field = getattr(request.subscription, path)
            if hasattr(field, "SerializeToString"):
                if request.subscription.HasField(path):
                    getattr(merged, path).CopyFrom(field)
            elif isinstance(field, int | str | bool):
                setattr(merged, path, field)
            else:
                getattr(merged, path).MergeFrom(field)
        return self._put(merged)

    async def list(self, request: Proto) -> Proto:
        """Subscriptions of a project."""
        mine = [n for n in self._broker.subscriptions if n.startswith(f"{request.project}/")]
        names, token = page(mine, request.page_size, request.page_token)
        found = [self._broker.subscriptions[n] for n in names]
        return pb("ListSubscriptionsResponse")(subscriptions=found, next_page_token=token)

    async def delete(self, request: Proto) -> Proto:
        """Delete a subscription."""
        self._store.drop_subscription(self._known(request.subscription).name)
        del self._broker.subscriptions[request.subscription]
        self._changed(request.subscription)
        return Empty()

    async def modify_push(self, request: Proto) -> Proto:
        """Change where a subscription pushes; an empty configuration makes it a pull subscription."""
        merged = pb("Subscription")()
        merged.CopyFrom(self._known(request.subscription))
        merged.push_config.CopyFrom(request.push_config)
        self._put(merged)
        return Empty()

    async def pull(self, request: Proto) -> Proto:
        """Up to `max_messages` that are due; waits a short while for the first."""
        subscription = self._known(request.subscription)
        if request.max_messages <= 0:
            raise Refused("INVALID_ARGUMENT", "max_messages must be at least 1")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0 if request.return_immediately else LONG_POLL_S)
        while not (leases := self._broker.take(subscription, request.max_messages)) and loop.time() < deadline:
            await self._broker.wait(subscription, deadline - loop.time())
        return pb("PullResponse")(received_messages=[self._received(subscription, lease) for lease in leases])

    def _received(self, subscription: Proto, lease: Any) -> Proto:
        counts = subscription.HasField("dead_letter_policy")
        return pb("ReceivedMessage")(
            ack_id=lease.ack_id, message=lease.message, delivery_attempt=lease.attempt if counts else 0
        )

    async def acknowledge(self, request: Proto) -> Proto:
        """Forget messages."""
        self._broker.acknowledge(self._known(request.subscription).name, request.ack_ids)
        return Empty()

    async def extend(self, request: Proto) -> Proto:
        """Move deadlines, or give messages back."""
        self._broker.extend(self._known(request.subscription).name, request.ack_ids, request.ack_deadline_seconds)
        return Empty()

    async def stream(self, requests: AsyncIterator[Proto], context: Any) -> AsyncIterator[Proto]:
        """Deliver as messages come, while the client acknowledges on the same stream or beside it."""
        first = await anext(aiter(requests))
        try:
            subscription = self._known(first.subscription)
        except Refused as refused:
            await abort(context, refused)
            return
        reading = asyncio.create_task(self._hear(subscription.name, requests))
        try:
            while not reading.done() and first.subscription in self._broker.subscriptions:
                leases = self._broker.take(subscription, STREAM_BATCH, first.stream_ack_deadline_seconds)
                if leases:
                    received = [self._received(subscription, lease) for lease in leases]
                    yield pb("StreamingPullResponse")(received_messages=received)
                else:
                    await self._broker.wait(subscription, 1.0)
        finally:
            reading.cancel()

    async def _hear(self, name: str, requests: AsyncIterator[Proto]) -> None:
        with contextlib.suppress(grpc.aio.AbortError, asyncio.CancelledError):
            async for request in requests:
                if request.ack_ids:
                    self._broker.acknowledge(name, request.ack_ids)
                deadlines = request.modify_deadline_seconds
                for ack_id, seconds in zip(request.modify_deadline_ack_ids, deadlines, strict=False):
                    self._broker.extend(name, [ack_id], seconds)
