"""Streaming pull as tests need it: raw, and by the client library's subscriber."""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.types import FlowControl
from google.pubsub_v1.types import StreamingPullRequest, StreamingPullResponse

from tests.support.clients import PubSub, unique


class Stream:
    """A raw streaming pull: its requests, and the responses so far."""

    def __init__(self, pubsub: PubSub, subscription: str, **limits: int) -> None:
        self._requests: queue.Queue[StreamingPullRequest | None] = queue.Queue()
        self.send(subscription=subscription, stream_ack_deadline_seconds=60, client_id=unique("client"), **limits)
        self._call = pubsub.subscriber.streaming_pull(
            requests=iter(self._requests.get, None), retry=None, timeout=pubsub.patience_s
        )

    def send(self, **fields: Any) -> None:
        self._requests.put(StreamingPullRequest(**fields))

    def next(self) -> StreamingPullResponse:
        return next(self._call)

    def texts(self, count: int) -> dict[str, str]:
        """Ack ids by text of the next messages."""
        messages: dict[str, str] = {}
        while len(messages) < count:
            messages |= {r.message.data.decode(): r.ack_id for r in self.next().received_messages}
        return messages

    def end(self) -> None:
        self._requests.put(None)
        self._call.cancel()


@contextmanager
def streaming(pubsub: PubSub, subscription: str, **limits: int) -> Iterator[Stream]:
    stream = Stream(pubsub, subscription, **limits)
    try:
        yield stream
    finally:
        stream.end()


@contextmanager
def subscribed(
    pubsub: PubSub, monkeypatch: pytest.MonkeyPatch, subscription: str, take: Any, **flow: int
) -> Iterator[Any]:
    """The client library's subscriber at work."""
    if pubsub.address:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    with pubsub_v1.SubscriberClient() as client:
        future = client.subscribe(subscription, take, flow_control=FlowControl(**flow))
        yield future
        future.cancel()


def in_thread(call: Any) -> "Future[Any]":
    """A call that may never return, made in a thread of its own that does not outlive the tests."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # handed to who waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
