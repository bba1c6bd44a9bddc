"""Delivers the messages of push subscriptions by HTTP, with the token that Google's Pub/Sub would send."""

import asyncio
import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx

from local.servers.identity.tokens import sign_oidc
from local.servers.pubsub.broker import Broker
from local.servers.pubsub.store import Lease, backoff
from local.servers.rpc import Proto

HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+: [\x20-\x7e]*", re.ASCII)  # other attributes do not become headers
ACKNOWLEDGED = (102, 200, 201, 202, 204)
IN_FLIGHT = 16
SPARE_S = 5  # a push ends by its own timeout before its lease does


class Pusher:
    """One task per push subscription."""

    def __init__(self, broker: Broker, identity: Path | None) -> None:
        self._broker, self._identity = broker, identity
        self._http = httpx.AsyncClient()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """Start all deliveries; messages that were in flight when the server ended are due now."""
        for name, subscription in self._broker.subscriptions.items():
            if subscription.push_config.push_endpoint:
                self._broker.store.release(name)
                self.changed(name)

    def changed(self, name: str) -> None:
        """Start, restart or end the delivery of a subscription after a change."""
        if task := self._tasks.pop(name, None):
            task.cancel()
        subscription = self._broker.subscriptions.get(name)
        if subscription is not None and subscription.push_config.push_endpoint and not subscription.detached:
            self._tasks[name] = asyncio.get_running_loop().create_task(self._deliver(subscription))

    async def close(self) -> None:
        """End all deliveries; unacknowledged messages are delivered after the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._http.aclose()

    async def _deliver(self, subscription: Proto) -> None:
        flying: set[asyncio.Task[None]] = set()
        try:
            while True:
                room, seconds = IN_FLIGHT - len(flying), subscription.ack_deadline_seconds + SPARE_S
                for lease in self._broker.take(subscription, room, seconds) if room else ():
                    task = asyncio.create_task(self._push(subscription, lease))
                    flying.add(task)
                    task.add_done_callback(flying.discard)
                if len(flying) >= IN_FLIGHT:
                    await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await self._broker.wait(subscription, 1.0)
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    async def _push(self, subscription: Proto, lease: Lease) -> None:
        try:
            taken = await self._post(subscription, lease)
        except asyncio.CancelledError:
            self._broker.give_back(subscription, [lease.ack_id], wait_s=0)
            raise
        if taken:
            self._broker.acknowledge(subscription, [lease.ack_id])
        else:
            self._broker.give_back(subscription, [lease.ack_id], wait_s=backoff(subscription, lease.attempt))

    async def _post(self, subscription: Proto, lease: Lease) -> bool:
        """Push a message; return True when the endpoint acknowledges it within the acknowledgement deadline."""
        config, deadline = subscription.push_config, httpx.Timeout(subscription.ack_deadline_seconds, connect=5)
        content, headers = request_of(subscription, lease)
        headers |= self._token(config)
        try:
            answer = await self._http.post(config.push_endpoint, content=content, headers=headers, timeout=deadline)
        except httpx.HTTPError:
            return False
        return answer.status_code in ACKNOWLEDGED

    def _token(self, config: Proto) -> dict[str, str]:
        if not config.HasField("oidc_token") or self._identity is None:
            return {}
        audience = config.oidc_token.audience or config.push_endpoint
        token = sign_oidc(self._identity, audience, config.oidc_token.service_account_email, time.time())
        return {"Authorization": f"Bearer {token}"}


def request_of(subscription: Proto, lease: Lease) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a push: the wrapped message, or its bare data.

    https://cloud.google.com/pubsub/docs/payload-unwrapping
    """
    config, message = subscription.push_config, lease.message
    if not config.HasField("no_wrapper"):
        return json.dumps(wrapped(subscription, lease)).encode(), {"Content-Type": "application/json"}
    headers: dict[str, str] = {}
    if config.no_wrapper.write_metadata:
        headers = {key: value for key, value in message.attributes.items() if HEADER.fullmatch(f"{key}: {value}")}
        headers |= {
            "x-goog-pubsub-subscription-name": subscription.name,
            "x-goog-pubsub-message-id": message.message_id,
            "x-goog-pubsub-publish-time": message.publish_time.ToJsonString(),
        }
        if message.ordering_key:
            headers["x-goog-pubsub-ordering-key"] = message.ordering_key
    return message.data, headers


def wrapped(subscription: Proto, lease: Lease) -> dict[str, Any]:
    """The body of a push."""
    message, published = lease.message, lease.message.publish_time.ToJsonString()
    body: dict[str, Any] = {
        "message": {
            "data": base64.b64encode(message.data).decode(),
            "attributes": dict(message.attributes),
            "messageId": message.message_id,
            "message_id": message.message_id,
            "publishTime": published,
            "publish_time": published,
        },
        "subscription": subscription.name,
    }
    if message.ordering_key:
        body["message"]["orderingKey"] = message.ordering_key
    if subscription.HasField("dead_letter_policy"):
        body["deliveryAttempt"] = lease.attempt
    return body
