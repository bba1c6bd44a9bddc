"""Fixtures of the local stand-ins: servers for the whole session, and an endpoint that takes pushes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import storage

from tests.cloud.place import RUNNING, run_bucket
from tests.support.clients import PROJECT, Endpoint, PubSub, storage_client, unique
from tests.support.http_server import QuietHandler, serving
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
def stand_in_pubsub(request: pytest.FixtureRequest) -> PubSub:
    """The same server, for tests that give `pubsub` another meaning; in a run of the kit the project's Pub/Sub."""
    return PubSub.of_run(RUNNING) if RUNNING else request.getfixturevalue("pubsub")


@pytest.fixture(scope="session")
def announcing_storage(pubsub: PubSub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[storage.Client]:
    """A client of a Cloud Storage that announces objects on `pubsub`."""
    with server("storage", tmp_path_factory.mktemp("storage") / "state", "--pubsub", pubsub.address) as port:
        yield storage_client(port)


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Iterator[storage.Bucket]:
    """A bucket of its own; in a run of the kit one of the project, which is deleted after the test."""
    if RUNNING is None:
        yield request.getfixturevalue("announcing_storage").create_bucket(unique("bucket"))
        return
    with run_bucket(RUNNING) as made:
        yield made


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint of its own; it keeps its caller waiting while `hold` is cleared."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            taken.headers.append({name.lower(): value for name, value in self.headers.items()})
            taken.tokens.append(self.headers.get("authorization", "").removeprefix("Bearer "))
            taken.bodies.append(body)
            taken.hold.wait(30)
            self.send_response(taken.statuses.pop(0) if len(taken.statuses) > 1 else taken.statuses[0])
            self.send_header("content-length", "0")
            self.end_headers()

    with serving(Handler) as address:
        taken = Endpoint(f"{address}/push")
        taken.hold.set()
        try:
            yield taken
        finally:
            taken.hold.set()
