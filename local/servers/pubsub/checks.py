"""Checks requests: names, sizes, durations and update masks. Raises RpcError with the reason."""

import re
from collections.abc import Collection

from local.servers.rpc import Proto, RpcError

NAME = re.compile(r"projects/[^/]+/(topics|subscriptions|snapshots)/(?!goog)[A-Za-z][\w.~+%-]{2,254}", re.ASCII)
# https://cloud.google.com/pubsub/quotas#resource_limits
MESSAGES = 1000
REQUEST_BYTES = 10_000_000
ATTRIBUTES, KEY_BYTES, VALUE_BYTES = 100, 256, 1024
ACK_DEADLINE_S = 600
BACKOFF_S = 600
RETENTION_S = (600, 31 * 86_400)
ATTEMPTS = (5, 100)  # https://cloud.google.com/pubsub/docs/handling-failures
WEEK_S = 7 * 86_400


def invalid(text: str) -> RpcError:
    """Return the error of an invalid request."""
    return RpcError("INVALID_ARGUMENT", text)


def not_found(name: str) -> RpcError:
    """Return the error of a resource that does not exist."""
    return RpcError("NOT_FOUND", f"Resource not found (resource={name.split('/')[-1]}).")


def already_exists(name: str) -> RpcError:
    """Return the error of a name that is taken."""
    return RpcError("ALREADY_EXISTS", f"Resource already exists in the project (resource={name.split('/')[-1]}).")


def check_name(name: str, kind: str) -> None:
    """Reject a name that Google rejects."""
    match = NAME.fullmatch(name)
    if not match or match[1] != kind:
        raise invalid(f"Invalid [{kind}] name: (name={name})")


def check_messages(messages: Collection[Proto]) -> None:
    """Reject messages that may not be published in one request."""
    if not 1 <= len(messages) <= MESSAGES:
        raise invalid(f"a request publishes from 1 to {MESSAGES} messages, not {len(messages)}")
    if (size := sum(message.ByteSize() for message in messages)) > REQUEST_BYTES:
        raise invalid(f"a request has at most {REQUEST_BYTES} bytes of messages, not {size}")
    for message in messages:
        if not message.data and not message.attributes:
            raise invalid("a message must have data or attributes")
        if len(message.attributes) > ATTRIBUTES or len(message.ordering_key.encode()) > VALUE_BYTES:
            raise invalid(f"a message has at most {ATTRIBUTES} attributes and {VALUE_BYTES} bytes of ordering key")
        for key, value in message.attributes.items():
            if not 1 <= len(key.encode()) <= KEY_BYTES or len(value.encode()) > VALUE_BYTES:
                raise invalid(f"attribute {key[:40]!r}: a key has 1 to {KEY_BYTES} bytes, a value up to {VALUE_BYTES}")


def check_topic(topic: Proto) -> None:
    """Reject a topic whose settings are out of bounds."""
    check_name(topic.name, "topics")
    if topic.HasField("message_retention_duration"):
        check_seconds(topic.message_retention_duration, "message_retention_duration", *RETENTION_S)


def complete_subscription(subscription: Proto) -> None:
    """Fill in a subscription's defaults and reject values out of bounds."""
    check_name(subscription.name, "subscriptions")
    subscription.ack_deadline_seconds = subscription.ack_deadline_seconds or 10
    if not 1 <= subscription.ack_deadline_seconds <= ACK_DEADLINE_S:
        raise invalid(f"ack_deadline_seconds must be from 1 to {ACK_DEADLINE_S}")
    if not subscription.HasField("message_retention_duration"):
        subscription.message_retention_duration.FromSeconds(WEEK_S)
    check_seconds(subscription.message_retention_duration, "message_retention_duration", *RETENTION_S)
    for field in ("minimum_backoff", "maximum_backoff"):
        if subscription.retry_policy.HasField(field):
            check_seconds(getattr(subscription.retry_policy, field), field, 0, BACKOFF_S)
    if subscription.HasField("dead_letter_policy"):
        policy = subscription.dead_letter_policy
        policy.max_delivery_attempts = policy.max_delivery_attempts or ATTEMPTS[0]
        if not ATTEMPTS[0] <= policy.max_delivery_attempts <= ATTEMPTS[1]:
            raise invalid(f"max_delivery_attempts must be from {ATTEMPTS[0]} to {ATTEMPTS[1]}")
    if subscription.push_config.push_endpoint and subscription.enable_exactly_once_delivery:
        raise invalid("exactly-once delivery is for pull subscriptions")


def check_seconds(duration: Proto, field: str, least: float, most: float) -> None:
    """Reject a duration that is out of bounds."""
    if not least <= duration.ToNanoseconds() / 1e9 <= most:
        raise invalid(f"{field} must be from {least:.0f} s to {most:.0f} s")


def masked(current: Proto, update: Proto, paths: Collection[str], fixed: Collection[str]) -> Proto:
    """Return a copy of the current resource with the update's values of the fields that a mask names.

    A field that is not set in `wanted` is cleared. `fixed` fields can't be changed.
    """
    kind = current.DESCRIPTOR.name
    if not paths:
        raise invalid(f"the update_mask of a {kind} must name at least one field")
    merged = type(current)()
    merged.CopyFrom(current)
    for path in paths:
        head, _, rest = path.partition(".")
        field = current.DESCRIPTOR.fields_by_name.get(head)
        if field is None or head in fixed or (rest and field.message_type is None):
            raise invalid(f"{path} of a {kind} can't be changed")
        if rest:
            inner = masked(getattr(merged, head), getattr(update, head), [rest], ())
            getattr(merged, head).CopyFrom(inner)
            continue
        merged.ClearField(head)
        only = type(current)()
        only.CopyFrom(update)
        for other in current.DESCRIPTOR.fields_by_name:
            if other != head:
                only.ClearField(other)
        merged.MergeFrom(only)
    return merged
