"""Fixtures that several suites share."""

import uuid
from collections.abc import Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from lake.store import Lake, open_lake
from tests.servers import server


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
