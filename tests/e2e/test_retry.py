"""Retry, pressed through the API as the UI does it: a run goes on where it failed, and does nothing twice."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from local.stack.local_stack import PROJECT
from millrace.domain import names
from millrace.lake.store import Lake
from tests.e2e.landing import LSN, airline, land, parquet
from tests.e2e.stack import Stack, folder_in_place_of, now
from tests.support.proxy import Proxy

pytestmark = pytest.mark.demo

STREAM = {"source": "airport_ops", "stream": "airlines"}
SOURCE = {"source": "airport_ops"}
OPEN_BATCH = names.open_batch_path("airport_ops", "airlines")


@pytest.fixture(scope="module")
def broken(stack: Stack) -> Iterator["Broken"]:
    """The stack with proxies before storage and Airbyte, and with no event that starts a flow."""
    storage, airbyte = Proxy(stack.local.ports["storage"]), Proxy(stack.local.ports["airbyte"])
    addresses = {
        "MILLRACE_LAKE__ENDPOINT": storage.url,
        "MILLRACE_AIRBYTE__URL": f"{airbyte.url}/api/public/v1",
    }
    stack.administer("deploy", "blocks", **addresses)
    try:
        with stack.by_hand():
            yield Broken(stack, storage, airbyte)
    finally:
        stack.administer("deploy", "blocks")
        storage.close()
        airbyte.close()


@dataclass
class Broken:
    """A stack whose parts can be broken one at a time."""

    stack: Stack
    storage: Proxy
    airbyte: Proxy

    @property
    def lake(self) -> Lake:
        return self.stack.platform.lake

    @contextmanager
    def foreign_manifest(self) -> Iterator[None]:
        path = f"{names.manifests_prefix(**STREAM)}{now():%Y%m%d}/x-000000000001.json"
        self.lake.write(path, b"garbage")
        try:
            yield
        finally:
            self.lake.delete(path)

    @contextmanager
    def topic_deleted(self, topic: str) -> Iterator[None]:
        import grpc
        from google.pubsub_v1 import PublisherClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        from local.stack.provision import add_topics

        with grpc.insecure_channel(self.stack.local.grpc("pubsub")) as channel:
            publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            publisher.delete_topic(topic=f"projects/{PROJECT}/topics/{topic}")
        try:
            yield
        finally:
            add_topics(self.stack.local)

    @contextmanager
    def deployment_deleted(self, name: str) -> Iterator[None]:
        deployment = self.stack.http.get(f"/deployments/name/{name}").raise_for_status().json()
        self.stack.http.delete(f"/automations/owned-by/prefect.deployment.{deployment['id']}").raise_for_status()
        self.stack.http.delete(f"/deployments/{deployment['id']}").raise_for_status()
        try:
            yield
        finally:
            self.stack.administer("deploy", "deployments")

    def replaced(self, name: str) -> AbstractContextManager[None]:
        """A file of the warehouse can't be used."""
        return folder_in_place_of(self.stack.state / "warehouse" / name)


Break = Callable[[Broken], AbstractContextManager[None]]


@dataclass(frozen=True)
class Case:
    """A flow that fails at a task: the fault, its message, and the tasks whose results a retry takes from the cache."""

    deployment: str
    task: str
    fault: Break
    message: str
    cached: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.deployment.split('/')[0]} at {self.task}"


CASES = [
    Case(
        "ingest/ingest",
        "start_sync",
        lambda b: b.stack.secret_disabled("airbyte-client-secret"),
        "airbyte-client-secret",
        parameters=SOURCE,
    ),
    Case(
        "ingest/ingest",
        "watch_sync",
        lambda b: b.airbyte.refusing(r"GET .*/jobs/\d"),
        "refused by the test",
        parameters=SOURCE,
    ),
    Case(
        "ingest/ingest",
        "await_landing",
        lambda b: b.storage.refusing(r"POST [\s\S]*_manifests(?:_empty)?/airport_ops/airlines/"),
        "refused by the test",
        ("watch_sync",),
        SOURCE,
    ),
    Case(
        "ingest/ingest",
        "report_landing",
        lambda b: b.stack.secret_value("airport-ops-password", "wrong"),
        "password authentication failed",
        parameters=SOURCE,
    ),
    Case("merge/merge", "has_pending", lambda b: b.foreign_manifest(), "is not a landing manifest", parameters=STREAM),
    Case(
        "merge/merge",
        "open_batch",
        lambda b: b.storage.refusing(r"POST [\s\S]*/open\.json"),
        "refused by the test",
        parameters=STREAM,
    ),
    Case(
        "merge/merge",
        "stage_batch",
        lambda b: b.storage.refusing("POST .*_staging"),
        "refused by the test",
        parameters=STREAM,
    ),
    Case(
        "merge/merge",
        "commit_batch",
        lambda b: b.storage.refusing(r"GET .*_staging.*\.arrow"),
        "refused by the test",
        ("stage_batch",),
        STREAM,
    ),
    Case(
        "merge/merge",
        "announce_merge",
        lambda b: b.topic_deleted(names.WAREHOUSE_MERGED),
        "has no topic",
        ("stage_batch", "commit_batch"),
        STREAM,
    ),
    Case(
        "model/model",
        "find_merges",
        lambda b: b.replaced("warehouse.duckdb"),
        "warehouse.duckdb",
    ),
    Case(
        "model/model",
        "validate_candidates",
        lambda b: b.storage.refusing("POST .*_site.*quality"),
        "refused by the test",
        ("build_candidates",),
    ),
    Case("model/model", "announce_marts", lambda b: b.topic_deleted(names.MARTS_PUBLISHED), "has no topic"),
    Case(
        "reconcile/reconcile",
        "find_unlanded",
        lambda b: b.stack.secret_disabled("airbyte-client-secret"),
        "airbyte-client-secret",
    ),
    Case("reconcile/reconcile", "find_unmerged", lambda b: b.foreign_manifest(), "is not a landing manifest"),
    Case("reconcile/reconcile", "start_merges", lambda b: b.deployment_deleted("merge/merge"), "merge/merge"),
]


QUICK = ("await_landing", "commit_batch")


def parameter(case: Case) -> ParameterSet:
    """Mark a case as long, but for one of each flow that reads most of its results from the cache."""
    long = case.task not in QUICK
    return pytest.param(case, id=str(case), marks=pytest.mark.long if long else pytest.mark.slow)


@pytest.mark.parametrize("case", map(parameter, CASES))
def test_retry_resumes_where_the_run_failed(broken: Broken, case: Case) -> None:
    land(broken.lake, parquet([airline("ZX", f"{case}", LSN + 100 + CASES.index(case))]))  # newer than the one before
    if case.deployment.startswith("model"):
        assert broken.stack.run("merge/merge", **STREAM).state == "COMPLETED"
    with case.fault(broken):
        failed = broken.stack.run(case.deployment, **case.parameters)
        assert failed.state == "FAILED", failed
        assert case.message in failed.message
        assert broken.stack.tasks(failed.id)["Failed"] == [case.task]
    again = broken.stack.retry(failed.id)
    assert again.state == "COMPLETED", again
    tasks = broken.stack.tasks(failed.id)
    for name in case.cached:
        assert tasks["Completed"].count(name) == 1
        assert name in tasks["Cached"]
