"""Publishes announcements of objects to Pub/Sub, each until it was taken."""

import asyncio
import contextlib
import json

import grpc.aio
from google.pubsub_v1 import types

from local.servers.storage.index import Index

RETRY_S = 1.0
TIMEOUT_S = 10.0
RECONNECT = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 1000))  # default: 120 s
METHOD = "/google.pubsub.v1.Publisher/Publish"


class Outbox:
    """Empties an index's outbox into the Pub/Sub server at `address`, with the token of Cloud Storage's own account."""

    def __init__(self, index: Index, address: str, token: str = "") -> None:
        self._index, self._address = index, address
        self._metadata = [("authorization", f"Bearer {token}")] if token else None
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look now."""
        self._news.set()

    async def run(self) -> None:
        """Publish for ever; a row leaves the outbox only after Pub/Sub has it."""
        request, response = types.PublishRequest.pb(), types.PublishResponse.pb()
        async with grpc.aio.insecure_channel(self._address, RECONNECT) as channel:
            publish = channel.unary_unary(
                METHOD, request_serializer=request.SerializeToString, response_deserializer=response.FromString
            )
            while True:
                self._news.clear()
                rows = self._index.db.execute("SELECT * FROM outbox ORDER BY id LIMIT 100").fetchall()
                for number, topic, attributes, data in rows:
                    message = {"data": data, "attributes": json.loads(attributes)}
                    try:
                        await publish(
                            request(topic=topic, messages=[message]), timeout=TIMEOUT_S, metadata=self._metadata
                        )
                    except grpc.aio.AioRpcError as error:
                        if error.code() != grpc.StatusCode.NOT_FOUND:
                            await asyncio.sleep(RETRY_S)
                            break  # a missing topic can't be announced to: Google drops such events too
                    self._index.db.execute("DELETE FROM outbox WHERE id = ?", (number,))
                if not rows:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), RETRY_S)
