"""A BigQuery for tests: the emulator as a server of its own, or a project of Google's; each test its own datasets."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.warehouse.bigquery.sql import Namespace
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from tests.cloud.place import RUNNING, unique_datasets
from tests.support.servers import ROOT, ending, free_port, listens, wait_until

PROJECT, LOCATION = "MILLRACE_TEST_BIGQUERY_PROJECT", "MILLRACE_TEST_BIGQUERY_LOCATION"
ENVIRONMENT = ROOT / ".venv-bigquery"
LAUNCHER = ROOT / "local" / "servers" / "bigquery" / "launcher.py"
ASKED = "MILLRACE_TEST_BIGQUERY"
NONE = "no BigQuery emulator: its environment is not built (needs Python 3.13)"
NOT_ASKED = "takes minutes; `make test-bigquery` runs it"


@dataclass(frozen=True)
class BigQuery:
    """A project to make datasets in; `endpoint` is the emulator's address, or empty."""

    project: str
    location: str
    endpoint: str

    def client(self) -> Any:
        if not self.endpoint:
            return bigquery.Client(self.project, location=self.location)
        options = {"api_endpoint": self.endpoint}
        return bigquery.Client(
            self.project, credentials=AnonymousCredentials(), client_options=options, location=self.location
        )

    def warehouse(self, prefix: str, **options: Any) -> BigQueryWarehouse:
        return BigQueryWarehouse(
            f"bigquery://{self.project}/{self.location}/{prefix}",
            f"bigquery://{self.project}/marts",
            **{"endpoint": self.endpoint} | options,
        )

    @contextmanager
    def prefix(self) -> Iterator[str]:
        """Yield a prefix for the names of a test's datasets, which are deleted in the end."""
        own = unique_datasets()
        yield own
        client = self.client()
        for dataset in list(client.list_datasets()):
            if dataset.dataset_id.startswith(f"{own}_"):
                client.delete_dataset(dataset.reference, delete_contents=True, not_found_ok=True)
        client.close()


@contextmanager
def emulator(state: Path, lake_endpoint: str = "", *options: str) -> Iterator[BigQuery]:
    """The emulator on a free port of 127.0.0.1, ended by its id."""
    port, grpc_port = free_port(), free_port()
    state.mkdir(parents=True, exist_ok=True)
    log = state.with_name(f"{state.name}.log")
    command = [
        str(ENVIRONMENT / "bin" / "python"),
        str(LAUNCHER),
        "--port",
        str(port),
        "--grpc-port",
        str(grpc_port),
        "--state",
        str(state),
        "--lake",
        lake_endpoint,
        *options,
    ]
    with log.open("ab") as output:
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    with ending(started):
        wait_until(lambda: listens(port) or started.poll() is not None, "the BigQuery emulator answers", 60)
        if started.poll() is not None:
            raise AssertionError(f"the emulator ended with {started.returncode}: {log.read_text()[-2000:]}")
        yield BigQuery("local", "US", f"http://127.0.0.1:{port}")


@contextmanager
def any_bigquery(state: Path, lake_endpoint: str) -> Iterator[BigQuery]:
    """The project of a run of the kit, else the one that `MILLRACE_TEST_BIGQUERY_PROJECT` names, else the emulator.

    Where there is none the test is skipped.
    """
    if RUNNING:
        yield BigQuery(RUNNING.target.project, RUNNING.target.location, RUNNING.target.endpoint("bigquery"))
        return
    if project := os.environ.get(PROJECT):
        yield BigQuery(project, os.environ.get(LOCATION, "EU"), "")
        return
    if not os.environ.get(ASKED):
        pytest.skip(NOT_ASKED)
    if not (ENVIRONMENT / "ready").exists():
        pytest.skip(NONE)
    with emulator(state, lake_endpoint) as service:
        yield service


@contextmanager
def lake_for(bigquery: BigQuery, emulated: Lake) -> Iterator[Lake]:
    """A lake that this BigQuery can load from: the local one, or a bucket of Google's that is deleted in the end."""
    if bigquery.endpoint or RUNNING:
        yield emulated
        return
    name = f"millrace-test-{uuid.uuid4().hex}"
    bucket = storage.Client(bigquery.project).create_bucket(name, location=bigquery.location)
    try:
        yield open_lake(f"gs://{bucket.name}")
    finally:
        bucket.delete(force=True)


def namespace_of(warehouse: BigQueryWarehouse) -> Namespace:
    return Namespace.of(warehouse.url)
