"""Fixtures that several suites share."""

import uuid
from collections.abc import Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from lake.store import Lake, open_lake
from tests.servers import server

FIRST = "test_make_run.py"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a file's tests to one process, and all those of the one stack, begun first as they take longest.

    Among them those come first that make the state which the others go on with.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group("stack" if _uses_the_stack(item) else str(item.path)))
    items.sort(key=lambda item: (0 if item.path.name == FIRST else 1) if _uses_the_stack(item) else 2)


def _uses_the_stack(item: pytest.Item) -> bool:
    return item.path.parent.name == "e2e"


@pytest.fixture(scope="session")
def storage_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A local Cloud Storage for the whole session."""
    with server("storage", tmp_path_factory.mktemp("storage") / "state") as port:
        yield port


@pytest.fixture
def lake(storage_port: int) -> Lake:
    """A lake in a bucket of its own."""
    endpoint = f"http://127.0.0.1:{storage_port}"
    bucket = f"lake-{uuid.uuid4().hex[:12]}"
    client = storage.Client("test", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint})
    client.bucket(bucket).create()
    return open_lake(f"gs://{bucket}", endpoint)
