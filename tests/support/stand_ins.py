"""Fixtures of the local stand-ins: servers for the whole session, and an endpoint that takes pushes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from google.cloud import storage

from tests.support.clients import PROJECT, Endpoint, PubSub, storage_client, unique
from tests.support.servers import server


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """An identity server: its port and its directory."""
    state = tmp_path_factory.mktemp("identity") / "state"
    with server("identity", state, "--project", PROJECT) as port:
        yield port, state


@pytest.fixture(scope="session")
def pubsub(identity: tuple[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSub]:
    """A Pub/Sub server that signs its pushes with the key of `identity`."""
    with server("pubsub", tmp_path_factory.mktemp("pubsub") / "state", "--identity", str(identity[1])) as port:
        yield PubSub(port)


@pytest.fixture(scope="session")
def stand_in_pubsub(pubsub: PubSub) -> PubSub:
    """The same server, for tests that give `pubsub` another meaning."""
    return pubsub


@pytest.fixture(scope="session")
def announcing_storage(pubsub: PubSub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[storage.Client]:
    """A client of a Cloud Storage that announces objects on `pubsub`."""
    with server("storage", tmp_path_factory.mktemp("storage") / "state", "--pubsub", pubsub.address) as port:
        yield storage_client(port)


@pytest.fixture
def bucket(announcing_storage: storage.Client) -> storage.Bucket:
    """A bucket of its own."""
    return announcing_storage.create_bucket(unique("bucket"))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint of its own; it keeps its caller waiting while `hold` is cleared."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            taken.headers.append({name.lower(): value for name, value in self.headers.items()})
            taken.tokens.append(self.headers.get("authorization", "").removeprefix("Bearer "))
            taken.bodies.append(body)
            taken.hold.wait(30)
            self.send_response(taken.statuses.pop(0) if len(taken.statuses) > 1 else taken.statuses[0])
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size, daemon_threads = 64, True

    listening = Server(("127.0.0.1", 0), Handler)
    taken = Endpoint(f"http://127.0.0.1:{listening.server_port}/push")
    taken.hold.set()
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield taken
    finally:
        taken.hold.set()
        listening.shutdown()
        listening.server_close()
        thread.join()
