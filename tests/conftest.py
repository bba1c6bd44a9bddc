"""Fixtures that several suites share."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from local.servers.airbyte.environment import NotInstalled, installed
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.project import current_project
from tests.cloud.place import RUNNING, run_lake
from tests.support.bigquery import BigQuery, any_bigquery
from tests.support.engines_page import EnginesPage
from tests.support.servers import server

settings.register_profile("millrace", deadline=None)  # a busy machine is not a fault of the code
settings.load_profile("millrace")

DEMO = current_project().sources / "airport_ops.yaml"
MINUTES = ("MILLRACE_LONG", "takes minutes: `make test-long` runs it")
SECONDS = ("MILLRACE_SLOW", "takes many seconds: `make test-slow` runs it, and so does .ci/run")
LEFT_OUT = {
    "slow": SECONDS,
    "gcloud": SECONDS,
    "long": MINUTES,
    "connectors": MINUTES,
}
STACK = "tests/e2e/"
FLOWS = "tests/integration/flows/"  # each file continues with the state of the one before
LONGEST = ("test_merge_oracle_bigquery.py", "test_model_engines.py")  # else one process waits in the end for the other
FIRST = ("test_make_run.py", "test_way.py", "test_webhook.py")  # the others land rows that the demo does not have


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--engines FILE`: write what each engine of the warehouse does, from the results."""
    parser.addoption("--engines", default="", help="write a page of the warehouse's behaviour on each engine")


def pytest_configure(config: pytest.Config) -> None:
    """Write the page in the process that collects all results."""
    if (page := config.getoption("--engines")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(EnginesPage(Path(page)))


class OneStack(LoadScopeScheduling):  # type: ignore[misc]
    """Gives the tests of a file to one process, and so all those of the whole stack, and all those of the flows."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for group in (STACK, FLOWS) if nodeid.startswith(group)), nodeid.split("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStack:
    """Decide which process runs which tests."""
    return OneStack(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of the stack, which take longest, and those among them whose state the others go on with.

    What takes long, or installs connectors, is left to a run of its own.
    """
    without_demo = pytest.mark.skip("the checkout has no demo (sources/airport_ops.yaml)")
    ranks = {name: rank for rank, name in enumerate([*FIRST, STACK, FLOWS, *LONGEST])}
    for item in items:
        if item.get_closest_marker("demo") and not DEMO.exists():
            item.add_marker(without_demo)
        for marker, (variable, reason) in LEFT_OUT.items():
            if item.get_closest_marker(marker) and not os.environ.get(variable):
                item.add_marker(pytest.mark.skip(reason))

    def rank(item: pytest.Item) -> int:
        group = next((ranks[group] for group in (STACK, FLOWS) if item.nodeid.startswith(group)), len(ranks))
        return ranks.get(item.path.name, group)

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def _connectors(request: pytest.FixtureRequest) -> None:
    """Skip a test of Airbyte's own connectors where they can't be installed, and say why."""
    if request.node.get_closest_marker("connectors"):
        try:
            installed("airbyte/source-faker")
        except NotInstalled as error:
            pytest.skip(f"Airbyte's connectors can't be installed: {error}")


@pytest.fixture(scope="session")
def storage_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A local Cloud Storage for the whole session."""
    with server("storage", tmp_path_factory.mktemp("storage") / "state") as port:
        yield port


@pytest.fixture
def lake(request: pytest.FixtureRequest) -> Iterator[Lake]:
    """A lake in a bucket of its own; in a run of the kit one of the project, which is deleted after the test."""
    if RUNNING is None:
        yield new_lake(request.getfixturevalue("storage_port"))
        return
    with run_lake(RUNNING) as own:
        yield own


def new_lake(storage_port: int) -> Lake:
    """A new bucket on the local Cloud Storage."""
    endpoint = f"http://127.0.0.1:{storage_port}"
    bucket = f"lake-{uuid.uuid4().hex[:12]}"
    client = storage.Client("test", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint})
    client.bucket(bucket).create()
    return open_lake(f"gs://{bucket}", endpoint)


@pytest.fixture(scope="session")
def bigquery(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigQuery]:
    """A BigQuery for the whole session: the emulator, or Google's; skip without either."""
    endpoint = "" if RUNNING else f"http://127.0.0.1:{request.getfixturevalue('storage_port')}"
    with any_bigquery(tmp_path_factory.mktemp("bigquery") / "state", endpoint) as service:
        yield service
