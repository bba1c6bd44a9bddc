"""What the conformance suites need in a run of the kit: names of the run, and clients of its project.

Outside of a run (`running()` is None) the fixtures start local servers.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from google.cloud import storage

from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from tests.cloud.clients import Clients
from tests.cloud.names import dataset_prefix, resource_name
from tests.cloud.target import Running, running

RUNNING = running()
PROJECT = RUNNING.target.project if RUNNING else "millrace-test"


def unique(kind: str) -> str:
    """Return a name that no other test has; in a run of the kit it is one of the run's."""
    digits = uuid.uuid4().hex[:12]
    return resource_name(RUNNING.id, kind, digits) if RUNNING else f"{kind}-{digits}"


def unique_datasets() -> str:
    """Return a prefix of datasets that no other test has."""
    digits = uuid.uuid4().hex[:10]
    return dataset_prefix(RUNNING.id, digits[:6]) if RUNNING else f"t{digits}"


def clients(run: Running) -> Clients:
    """Return clients of a run's project."""
    return Clients(run.target)


def new_bucket(run: Running) -> storage.Bucket:
    """Create a bucket of a run, in the location of its data."""
    return clients(run).storage.create_bucket(unique("bucket"), location=run.target.location)


@contextmanager
def run_bucket(run: Running) -> Iterator[storage.Bucket]:
    """A new bucket that is deleted in the end with all that is in it, so that a run has few at a time."""
    from tests.cloud.cleanup import delete_bucket

    new = new_bucket(run)
    try:
        yield new
    finally:
        delete_bucket(clients(run), new.name)


@contextmanager
def run_lake(run: Running) -> Iterator[Lake]:
    """A lake in a new bucket that is deleted in the end."""
    with run_bucket(run) as bucket:
        yield open_lake(f"gs://{bucket.name}", run.target.endpoint("storage"))
