"""Delivers the messages of push subscriptions by HTTP, with the token that Google's Pub/Sub would send."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import httpx

from local.identity.tokens import sign_oidc
from local.pubsub.broker import Broker
from local.pubsub.store import Lease, backoff
from local.rpc import Proto

ACKNOWLEDGED = (102, 200, 201, 202, 204)
IN_FLIGHT = 16


class Pusher:
    """One task per push subscription."""

    def __init__(self, broker: Broker, identity: Path | None) -> None:
        self._broker, self._identity = broker, identity
        self._http = httpx.AsyncClient()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """Start all deliveries; what was in flight when the server ended is due now."""
        for name, subscription in self._broker.subscriptions.items():
            if subscription.push_config.push_endpoint:
                self._broker.store.release(name)
                self.changed(name)

    def changed(self, name: str) -> None:
        """Start, restart or end the delivery of a subscription after a change."""
        if task := self._tasks.pop(name, None):
            task.cancel()
        subscription = self._broker.subscriptions.get(name)
        if subscription is not None and subscription.push_config.push_endpoint:
            self._tasks[name] = asyncio.get_running_loop().create_task(self._deliver(subscription))

    async def close(self) -> None:
        """End all deliveries; what was not acknowledged is delivered after the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._http.aclose()

    async def _deliver(self, subscription: Proto) -> None:
        flying: set[asyncio.Task[None]] = set()
        try:
            while True:
                for lease in (
                    self._broker.take(subscription, IN_FLIGHT - len(flying)) if len(flying) < IN_FLIGHT else ()
                ):
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
            self._broker.store.postpone(subscription.name, lease.ack_id, 0)
            self._broker.wake(subscription.name)
            raise
        if taken:
            self._broker.acknowledge(subscription.name, [lease.ack_id])
        else:
            self._broker.store.postpone(subscription.name, lease.ack_id, backoff(subscription, lease.attempt))
            self._broker.wake(subscription.name)

    async def _post(self, subscription: Proto, lease: Lease) -> bool:
        """Whether the endpoint takes a message within the acknowledgement deadline."""
        config, deadline = subscription.push_config, httpx.Timeout(subscription.ack_deadline_seconds, connect=5)
        body, headers = wrapped(subscription, lease), self._headers(subscription.push_config)
        try:
            answer = await self._http.post(config.push_endpoint, json=body, headers=headers, timeout=deadline)
        except httpx.HTTPError:
            return False
        return answer.status_code in ACKNOWLEDGED

    def _headers(self, config: Proto) -> dict[str, str]:
        if not config.HasField("oidc_token") or self._identity is None:
            return {}
        audience = config.oidc_token.audience or config.push_endpoint
        token = sign_oidc(self._identity, audience, config.oidc_token.service_account_email, time.time())
        return {"Authorization": f"Bearer {token}"}


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
