"""Topics and rotation of a secret: what Secret Manager keeps of them, and what it rejects.

https://cloud.google.com/secret-manager/docs/reference/rpc/google.cloud.secretmanager.v1#rotation
"""

import re
import time
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from local.servers.rpc import Proto, RpcError

TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
MOST_TOPICS = 10
SOONEST_S, SHORTEST_S, LONGEST_S = 300, 3600, 3_153_600_000


def described(secret: Proto) -> dict[str, Any]:
    """Return topics and rotation of a message, as they are kept.

    Raises:
        RpcError: Secret Manager would reject them.
    """
    names = [topic.name for topic in secret.topics]
    if len(names) > MOST_TOPICS:
        raise RpcError("INVALID_ARGUMENT", f"Secret.topics: at most {MOST_TOPICS} topics may be configured.")
    for name in names:
        if not TOPIC.fullmatch(name):
            raise RpcError("INVALID_ARGUMENT", f"Topic [{name}] is invalid: it must be projects/*/topics/*.")
    rotation = MessageToDict(secret.rotation, preserving_proto_field_name=True)
    if rotation:
        _check(secret, names)
    return {"topics": names, "rotation": rotation}


def _check(secret: Proto, names: list[str]) -> None:
    rotation, ahead = secret.rotation, secret.rotation.next_rotation_time.seconds - time.time()
    period = rotation.rotation_period.seconds if rotation.HasField("rotation_period") else None
    if not names:
        raise RpcError("INVALID_ARGUMENT", "Secret.topics must be set to configure rotation.")
    if not rotation.HasField("next_rotation_time"):
        raise RpcError("INVALID_ARGUMENT", "Rotation.next_rotation_time must be set if rotation_period is set.")
    if ahead < SOONEST_S:
        raise RpcError("INVALID_ARGUMENT", f"Rotation.next_rotation_time must be at least {SOONEST_S}s in the future.")
    if period is not None and not SHORTEST_S <= period <= LONGEST_S:
        raise RpcError("INVALID_ARGUMENT", f"Rotation.rotation_period must be {SHORTEST_S}s to {LONGEST_S}s.")


def describe(secret: Proto, stored: dict[str, Any]) -> None:
    """Put what is kept into a message."""
    for name in stored.get("topics", ()):
        secret.topics.add().name = name
    if stored.get("rotation"):
        ParseDict(stored["rotation"], secret.rotation)
