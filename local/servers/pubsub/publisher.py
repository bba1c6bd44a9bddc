"""The gRPC methods of Publisher over a broker: topics, publishing, detaching."""

from collections.abc import Callable
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from local.servers.pubsub.broker import Broker
from local.servers.pubsub.checks import already_exists, check_messages, check_topic, masked, not_found
from local.servers.rpc import Method, Proto, page, project_page

Changed = Callable[[str], None]
DELETED_TOPIC = "_deleted-topic_"
FIXED = ("name", "state", "satisfies_pzs")


def pb(name: str) -> Proto:
    """Raw protobuf class of a Pub/Sub type."""
    return getattr(types, name).pb()


class PublisherService:
    """Topics and publishing."""

    def __init__(self, broker: Broker, changed: Changed) -> None:
        self._broker, self._store, self._changed = broker, broker.store, changed

    def methods(self) -> dict[str, Any]:
        """Return the handlers that gRPC registers."""
        table = {
            "CreateTopic": Method(pb("Topic"), pb("Topic"), self.create),
            "GetTopic": Method(pb("GetTopicRequest"), pb("Topic"), self.get),
            "UpdateTopic": Method(pb("UpdateTopicRequest"), pb("Topic"), self.update),
            "ListTopics": Method(pb("ListTopicsRequest"), pb("ListTopicsResponse"), self.list),
            "DeleteTopic": Method(pb("DeleteTopicRequest"), Empty, self.delete),
            "ListTopicSubscriptions": Method(
                pb("ListTopicSubscriptionsRequest"), pb("ListTopicSubscriptionsResponse"), self.subscriptions
            ),
            "ListTopicSnapshots": Method(
                pb("ListTopicSnapshotsRequest"), pb("ListTopicSnapshotsResponse"), self.snapshots
            ),
            "DetachSubscription": Method(
                pb("DetachSubscriptionRequest"), pb("DetachSubscriptionResponse"), self.detach
            ),
            "Publish": Method(pb("PublishRequest"), pb("PublishResponse"), self.publish),
        }
        return {name: method.handler() for name, method in table.items()}

    def _known(self, topic: str) -> Proto:
        if topic not in self._broker.topics:
            raise not_found(topic)
        return self._broker.topics[topic]

    async def create(self, request: Proto) -> Proto:
        """Make a topic."""
        check_topic(request)
        if not self._store.put_topic(request, new=True):
            raise already_exists(request.name)
        self._broker.topics[request.name] = request
        return request

    async def get(self, request: Proto) -> Proto:
        """A topic."""
        return self._known(request.topic)

    async def update(self, request: Proto) -> Proto:
        """Change the fields that the mask names."""
        merged = masked(self._known(request.topic.name), request.topic, request.update_mask.paths, FIXED)
        check_topic(merged)
        self._store.put_topic(merged, new=False)
        self._broker.topics[merged.name] = merged
        return merged

    async def list(self, request: Proto) -> Proto:
        """Topics of a project."""
        topics, token = project_page(self._broker.topics, request)
        return pb("ListTopicsResponse")(topics=topics, next_page_token=token)

    async def delete(self, request: Proto) -> Proto:
        """Delete a topic: its subscriptions and snapshots keep their messages, but get none of a new namesake."""
        topic = self._known(request.topic).name
        self._store.drop_topic(topic)
        del self._broker.topics[topic]
        for subscription in self._broker.subscriptions.values():
            if subscription.topic == topic:
                subscription.topic = DELETED_TOPIC
                self._store.put_subscription(subscription, new=False)
        for snapshot in self._broker.snapshots.values():
            if snapshot.topic == topic:
                snapshot.topic = DELETED_TOPIC
                self._broker.history.put_snapshot(snapshot)
        return Empty()

    async def subscriptions(self, request: Proto) -> Proto:
        """Subscriptions of a topic that are attached to it."""
        topic = self._known(request.topic).name
        mine = [s.name for s in self._broker.subscriptions.values() if s.topic == topic and not s.detached]
        names, token = page(mine, request.page_size, request.page_token)
        return pb("ListTopicSubscriptionsResponse")(subscriptions=names, next_page_token=token)

    async def snapshots(self, request: Proto) -> Proto:
        """Snapshots of a topic's subscriptions."""
        topic = self._known(request.topic).name
        mine = [s.name for s in self._broker.snapshots.values() if s.topic == topic]
        names, token = page(mine, request.page_size, request.page_token)
        return pb("ListTopicSnapshotsResponse")(snapshots=names, next_page_token=token)

    async def detach(self, request: Proto) -> Proto:
        """Detach a subscription from its topic; its messages are dropped."""
        subscription = self._broker.subscriptions.get(request.subscription)
        if subscription is None:
            raise not_found(request.subscription)
        subscription.detached = True
        self._store.put_subscription(subscription, new=False)
        self._store.empty_subscription(subscription.name)
        self._changed(subscription.name)
        self._broker.wake(subscription.name)
        return pb("DetachSubscriptionResponse")()

    async def publish(self, request: Proto) -> Proto:
        """Keep messages; answered only when they are written."""
        topic = self._known(request.topic).name
        check_messages(request.messages)
        return pb("PublishResponse")(message_ids=self._broker.publish(topic, request.messages))
