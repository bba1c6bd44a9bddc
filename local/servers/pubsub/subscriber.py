"""The gRPC methods of Subscriber over a broker: subscriptions, pulling, acknowledging, snapshots and seeking."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyPb
from google.protobuf.empty_pb2 import Empty
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from local.servers.pubsub.broker import Broker
from local.servers.pubsub.checks import already_exists, check_name, complete_subscription, invalid, masked, not_found
from local.servers.pubsub.filters import parse_filter
from local.servers.pubsub.publisher import pb
from local.servers.pubsub.store import Lease
from local.servers.pubsub.streams import Stream
from local.servers.rpc import Method, Proto, RpcError, abort, project_page

LONG_POLL_S = 5.0
MOST_PULLED = 1000
MOST_EXTENSION_S = 600
FIXED = (
    "name",
    "topic",
    "filter",
    "enable_message_ordering",
    "detached",
    "state",
    "topic_message_retention_duration",
)
Changed = Callable[[str], None]


class SubscriberService:
    """The Subscriber service; it calls `changed` with the name of each subscription that is created or changed."""

    def __init__(self, broker: Broker, changed: Changed) -> None:
        self._broker, self._store, self._changed = broker, broker.store, changed

    def methods(self) -> dict[str, Any]:
        """Return the handlers that gRPC registers."""
        sub, snapshot = pb("Subscription"), pb("Snapshot")
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
            "CreateSnapshot": Method(pb("CreateSnapshotRequest"), snapshot, self.create_snapshot),
            "GetSnapshot": Method(pb("GetSnapshotRequest"), snapshot, self.get_snapshot),
            "UpdateSnapshot": Method(pb("UpdateSnapshotRequest"), snapshot, self.update_snapshot),
            "ListSnapshots": Method(pb("ListSnapshotsRequest"), pb("ListSnapshotsResponse"), self.list_snapshots),
            "DeleteSnapshot": Method(pb("DeleteSnapshotRequest"), Empty, self.delete_snapshot),
            "Seek": Method(pb("SeekRequest"), pb("SeekResponse"), self.seek),
        }
        streaming = grpc.stream_stream_rpc_method_handler(
            self.stream,
            request_deserializer=pb("StreamingPullRequest").FromString,
            response_serializer=pb("StreamingPullResponse").SerializeToString,
        )
        return {name: method.handler() for name, method in table.items()} | {"StreamingPull": streaming}

    def _known(self, name: str) -> Proto:
        if name not in self._broker.subscriptions:
            raise not_found(name)
        return self._broker.subscriptions[name]

    def _attached(self, name: str) -> Proto:
        subscription = self._known(name)
        if subscription.detached:
            raise RpcError("FAILED_PRECONDITION", f"{name} is detached from its topic; delete it")
        return subscription

    def _put(self, subscription: Proto, *, new: bool = False) -> Proto:
        parse_filter(subscription.filter)  # raises for a malformed one
        complete_subscription(subscription)
        if not self._store.put_subscription(subscription, new=new):
            raise already_exists(subscription.name)
        self._broker.subscriptions[subscription.name] = subscription
        self._changed(subscription.name)
        return subscription

    async def create(self, request: Proto) -> Proto:
        """Make a subscription."""
        check_name(request.name, "subscriptions")
        if request.topic not in self._broker.topics:
            raise not_found(request.topic)
        return self._put(request, new=True)

    async def get(self, request: Proto) -> Proto:
        """A subscription, with the retention of its topic."""
        subscription = pb("Subscription")()
        subscription.CopyFrom(self._known(request.subscription))
        topic = self._broker.topics.get(subscription.topic)
        if topic is not None and topic.HasField("message_retention_duration"):
            subscription.topic_message_retention_duration.CopyFrom(topic.message_retention_duration)
        return subscription

    async def update(self, request: Proto) -> Proto:
        """Change the fields that the mask names."""
        current = self._known(request.subscription.name)
        return self._put(masked(current, request.subscription, request.update_mask.paths, FIXED))

    async def list(self, request: Proto) -> Proto:
        """Subscriptions of a project."""
        subscriptions, token = project_page(self._broker.subscriptions, request)
        return pb("ListSubscriptionsResponse")(subscriptions=subscriptions, next_page_token=token)

    async def delete(self, request: Proto) -> Proto:
        """Delete a subscription."""
        self._store.drop_subscription(self._known(request.subscription).name)
        del self._broker.subscriptions[request.subscription]
        self._changed(request.subscription)
        self._broker.wake(request.subscription)
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
        if request.max_messages <= 0:
            raise invalid("max_messages must be at least 1")
        count, loop = min(request.max_messages, MOST_PULLED), asyncio.get_running_loop()
        deadline = loop.time() + (0 if request.return_immediately else LONG_POLL_S)
        while True:
            subscription = self._attached(request.subscription)
            leases = self._broker.take(subscription, count)
            if leases or loop.time() >= deadline:
                return pb("PullResponse")(received_messages=[self._received(subscription, lease) for lease in leases])
            await self._broker.wait(subscription, deadline - loop.time())

    def _received(self, subscription: Proto, lease: Lease) -> Proto:
        counts = subscription.HasField("dead_letter_policy")
        return pb("ReceivedMessage")(
            ack_id=lease.ack_id, message=lease.message, delivery_attempt=lease.attempt if counts else 0
        )

    async def acknowledge(self, request: Proto) -> Proto:
        """Acknowledge messages. With exactly-once delivery, raise with the invalid ack ids."""
        subscription = self._known(request.subscription)
        confirm(subscription, self._broker.acknowledge(subscription, request.ack_ids))
        return Empty()

    async def extend(self, request: Proto) -> Proto:
        """Move deadlines, or give messages back; with exactly-once delivery as `acknowledge`."""
        seconds, subscription = request.ack_deadline_seconds, self._known(request.subscription)
        if not 0 <= seconds <= MOST_EXTENSION_S:
            raise invalid(f"ack_deadline_seconds must be from 0 to {MOST_EXTENSION_S}")
        confirm(subscription, self._broker.extend(subscription, request.ack_ids, seconds))
        return Empty()

    async def stream(self, requests: AsyncIterator[Proto], context: Any) -> AsyncIterator[Proto]:
        """Deliver as messages come, while the client acknowledges on the same stream or beside it."""
        try:
            async for first in requests:
                stream = Stream(self._broker, self._attached, first)
                async for response in stream.responses(requests):
                    yield response
        except RpcError as error:
            await abort(context, error)

    def _snapshot(self, name: str) -> Proto:
        if name not in self._broker.snapshots:
            raise not_found(name)
        return self._broker.snapshots[name]

    async def create_snapshot(self, request: Proto) -> Proto:
        """Create a snapshot of a subscription's messages, and of those that its topic gets from now on."""
        check_name(request.name, "snapshots")
        template = pb("Snapshot")(name=request.name, labels=request.labels)
        snapshot = self._broker.history.take_snapshot(template, self._attached(request.subscription))
        self._broker.snapshots[snapshot.name] = snapshot
        return snapshot

    async def get_snapshot(self, request: Proto) -> Proto:
        """A snapshot."""
        return self._snapshot(request.snapshot)

    async def update_snapshot(self, request: Proto) -> Proto:
        """Change the labels or the end of a snapshot."""
        current = self._snapshot(request.snapshot.name)
        merged = masked(current, request.snapshot, request.update_mask.paths, ("name", "topic"))
        self._broker.history.put_snapshot(merged)
        self._broker.snapshots[merged.name] = merged
        return merged

    async def list_snapshots(self, request: Proto) -> Proto:
        """Snapshots of a project."""
        snapshots, token = project_page(self._broker.snapshots, request)
        return pb("ListSnapshotsResponse")(snapshots=snapshots, next_page_token=token)

    async def delete_snapshot(self, request: Proto) -> Proto:
        """Delete a snapshot."""
        name = self._snapshot(request.snapshot).name
        self._broker.history.drop_snapshot(name)
        del self._broker.snapshots[name]
        return Empty()

    async def seek(self, request: Proto) -> Proto:
        """Make a subscription's backlog that of a time or a snapshot."""
        subscription, history = self._attached(request.subscription), self._broker.history
        if request.HasField("time"):
            history.seek_to_time(subscription, request.time.ToNanoseconds() / 1e9)
        elif request.snapshot:
            history.seek_to_snapshot(subscription, self._snapshot(request.snapshot))
        else:
            raise invalid("a seek needs a time or a snapshot")
        self._broker.wake(subscription.name)
        return pb("SeekResponse")()


def confirm(subscription: Proto, invalid: Collection[str]) -> None:
    """Raise, as Google does, for ack ids that are invalid under exactly-once delivery."""
    if not invalid or not subscription.enable_exactly_once_delivery:
        return
    info = ErrorInfo(reason="EXACTLY_ONCE_ACKID_FAILURE", domain="pubsub.googleapis.com")
    info.metadata.update({ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID" for ack_id in invalid})
    detail, text = AnyPb(), "Some acknowledgement ids in the request were invalid."
    detail.Pack(info)
    status = Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=text, details=[detail])
    raise RpcError("INVALID_ARGUMENT", text, [("grpc-status-details-bin", status.SerializeToString())])
