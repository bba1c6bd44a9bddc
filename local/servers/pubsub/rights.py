"""The permissions of Pub/Sub's methods, and the words of a rejection.

https://cloud.google.com/pubsub/docs/access-control#required_permissions
"""

from local.servers.rights.calls import Proto, Requires, in_project, on, project_of
from local.servers.rights.policy import Denial, Required

CONSUME = "pubsub.subscriptions.consume"


def rejection(_: Denial) -> str:
    """Return Pub/Sub's message: it names neither the identity nor the permission."""
    return "User not authorized to perform this action."


def _create_subscription(request: Proto) -> list[Required]:
    return [
        ("pubsub.subscriptions.create", project_of(request.name)),
        ("pubsub.topics.attachSubscription", request.topic),
    ]


def _seek(request: Proto) -> list[Required]:
    snapshot = [("pubsub.snapshots.seek", request.snapshot)] if request.snapshot else []
    return [(CONSUME, request.subscription), *snapshot]


def _create_snapshot(request: Proto) -> list[Required]:
    return [("pubsub.snapshots.create", project_of(request.name)), (CONSUME, request.subscription)]


METHODS: dict[str, Requires] = {
    "CreateTopic": in_project("name", "pubsub.topics.create"),
    "GetTopic": on("topic", "pubsub.topics.get"),
    "UpdateTopic": on("topic.name", "pubsub.topics.update"),
    "ListTopics": on("project", "pubsub.topics.list"),
    "DeleteTopic": on("topic", "pubsub.topics.delete"),
    "ListTopicSubscriptions": on("topic", "pubsub.topics.get"),
    "ListTopicSnapshots": on("topic", "pubsub.topics.get"),
    "DetachSubscription": on("subscription", "pubsub.subscriptions.update"),
    "Publish": on("topic", "pubsub.topics.publish"),
    "CreateSubscription": _create_subscription,
    "GetSubscription": on("subscription", "pubsub.subscriptions.get"),
    "UpdateSubscription": on("subscription.name", "pubsub.subscriptions.update"),
    "ListSubscriptions": on("project", "pubsub.subscriptions.list"),
    "DeleteSubscription": on("subscription", "pubsub.subscriptions.delete"),
    "ModifyPushConfig": on("subscription", "pubsub.subscriptions.update"),
    "Pull": on("subscription", CONSUME),
    "StreamingPull": on("subscription", CONSUME),
    "Acknowledge": on("subscription", CONSUME),
    "ModifyAckDeadline": on("subscription", CONSUME),
    "CreateSnapshot": _create_snapshot,
    "GetSnapshot": on("snapshot", "pubsub.snapshots.get"),
    "UpdateSnapshot": on("snapshot.name", "pubsub.snapshots.update"),
    "ListSnapshots": on("project", "pubsub.snapshots.list"),
    "DeleteSnapshot": on("snapshot", "pubsub.snapshots.delete"),
    "Seek": _seek,
}
