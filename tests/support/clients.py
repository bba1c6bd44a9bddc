"""The local stand-ins behind the official Google clients: what many of their tests need."""

import base64
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, ReceivedMessage, RetryPolicy, Subscription

from tests.cloud.place import PROJECT, clients, unique
from tests.cloud.target import Running
from tests.support.servers import free_port, listens, process, wait_until


def retry(least_s: float, most_s: float) -> RetryPolicy:
    least, most = (Duration(nanos=int(s % 1 * 1e9), seconds=int(s)) for s in (least_s, most_s))
    return RetryPolicy(minimum_backoff=least, maximum_backoff=most)


class PubSub:
    """A Pub/Sub server's clients, and the few calls that most tests make."""

    def __init__(self, port: int, patience_s: float = 30) -> None:
        self.address, self.patience_s = f"127.0.0.1:{port}", patience_s
        channel = grpc.insecure_channel(self.address)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))

    @classmethod
    def of_run(cls, run: Running) -> "PubSub":
        """Return the clients of the project that a run of `make cloud-smoke` checks."""
        pubsub = cls.__new__(cls)
        pubsub.address, pubsub.patience_s = run.target.endpoint("pubsub"), 60
        pubsub.publisher, pubsub.subscriber = clients(run).publisher, clients(run).subscriber
        return pubsub

    def topic(self) -> str:
        return str(self.publisher.create_topic(name=f"projects/{PROJECT}/topics/{unique('topic')}").name)

    def subscription(self, topic: str, **settings: Any) -> str:
        name = f"projects/{PROJECT}/subscriptions/{unique('sub')}"
        return str(self.subscriber.create_subscription(Subscription(name=name, topic=topic, **settings)).name)

    def dead_lettered(self, **settings: Any) -> tuple[str, str, str]:
        """A topic, its subscription with five attempts, and a subscription to its dead-letter topic."""
        topic, dead = self.topic(), self.topic()
        policy = DeadLetterPolicy(dead_letter_topic=dead, max_delivery_attempts=5)
        return topic, self.subscription(topic, dead_letter_policy=policy, **settings), self.subscription(dead)

    def publish(self, topic: str, *texts: str, **attributes: str) -> list[str]:
        messages = [PubsubMessage(data=text.encode(), attributes=attributes) for text in texts]
        return list(self.publisher.publish(topic=topic, messages=messages, timeout=5, retry=None).message_ids)

    def pull(self, subscription: str, at_most: int = 100) -> list[ReceivedMessage]:
        """Pull the messages that are due; wait a short while for the first."""
        answer = self.subscriber.pull(subscription=subscription, max_messages=at_most)
        return list(answer.received_messages)

    def pull_one(self, subscription: str) -> ReceivedMessage:
        (received,) = self.pull(subscription)
        return received

    def due(self, subscription: str) -> list[ReceivedMessage]:
        """Pull the messages that are due, without waiting."""
        request = {"subscription": subscription, "max_messages": 100, "return_immediately": True}
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            answer = self.subscriber.pull(request=request)
        return list(answer.received_messages)

    def ack(self, subscription: str, received: Iterable[ReceivedMessage]) -> None:
        self.subscriber.acknowledge(subscription=subscription, ack_ids=[r.ack_id for r in received])

    def nack(self, subscription: str, received: ReceivedMessage, seconds: int = 0) -> None:
        self.subscriber.modify_ack_deadline(
            subscription=subscription, ack_ids=[received.ack_id], ack_deadline_seconds=seconds
        )

    def drain(self, subscription: str, until: Callable[[set[str]], bool]) -> set[str]:
        """Texts of the messages, acknowledged as they come, until they suffice."""
        texts: set[str] = set()

        def enough() -> bool:
            received = self.pull(subscription, 1000)
            texts.update(r.message.data.decode() for r in received)
            if received:
                self.ack(subscription, received)
            return until(texts)

        wait_until(enough, f"{subscription} delivers the expected messages")
        return texts


def storage_client(port: int) -> storage.Client:
    options = {"api_endpoint": f"http://127.0.0.1:{port}"}
    return storage.Client(PROJECT, credentials=AnonymousCredentials(), client_options=options)


def put(bucket: storage.Bucket, name: str, data: bytes = b"x", **conditions: Any) -> storage.Blob:
    """Uploads an object in one request."""
    blob = bucket.blob(name)
    blob.upload_from_string(data, **conditions)
    return blob


def secrets_client(port: int) -> SecretManagerServiceClient:
    own = [("grpc.use_local_subchannel_pool", 1)]  # a client of a killed server at the same port is backing off
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", own)
    return SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))


@contextmanager
def killable(name: str, state: Path, *options: str, port: int = 0) -> Iterator[tuple[int, Callable[[], None]]]:
    """A server that a test may kill: its port, and what sends SIGKILL and waits for its end."""
    port = port or free_port()
    command = ("-m", f"local.servers.{name}", "--port", str(port), "--state", str(state), *options)
    with process(*command, log=state.with_name(f"{state.name}.log")) as started:
        wait_until(lambda: listens(port), f"local.servers.{name} answers")

        def kill() -> None:
            started.kill()
            started.wait(5)

        yield port, kill


def write_until_killed(write: Callable[[int, int], str], kill: Callable[[], None], least: int = 60) -> list[str]:
    """Write from four threads until the server is killed; return the acknowledged writes."""
    acknowledged: list[str] = []

    def writer(thread: int) -> None:
        for number in range(100_000):
            try:
                acknowledged.append(write(thread, number))
            except Exception:  # the client's way to say that the server is gone
                return

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(acknowledged) >= least, f"{least} writes are acknowledged")
    finally:
        kill()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    return acknowledged


@dataclass
class Endpoint:
    """An HTTP endpoint that records pushes; answers with `statuses` in turn, the last one for ever."""

    url: str
    statuses: list[int] = field(default_factory=lambda: [204])
    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def texts(self) -> list[str]:
        """Return the texts of the messages, in the order of their arrival."""
        return [base64.b64decode(body["message"]["data"]).decode() for body in self.bodies]
