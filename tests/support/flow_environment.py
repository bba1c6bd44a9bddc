"""Everything a flow needs, for flows that run in the process of a test: local servers, a Prefect server, the demo."""

import json
import secrets
import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import duckdb
import httpx
import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)

from beam_job.batches import pending
from flows.merge import merge
from local.demo import source
from local.demo.airport_ops import replay
from local.demo.prefect import PrefectApi
from local.stack.credentials import NAMES
from local.stack.environment import platform_settings
from local.stack.local_stack import BUCKET, PROJECT, LocalStack
from local.stack.ports import PREFERRED_PORTS
from local.stack.provision import provision
from millrace.airbyte.client import AirbyteClient
from millrace.contracts.source import SourceContract, load_sources
from millrace.domain import names
from millrace.domain.landing import LandingManifest
from millrace.domain.ledger import EVER, LedgerEntry, announced_entry, published_entry
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.settings import load_settings
from millrace.warehouse.engines import open_warehouse
from millrace.warehouse.port import Warehouse
from tests.support.clients import PubSub
from tests.support.connections import apply
from tests.support.google_api import listening
from tests.support.harness import harness
from tests.support.scripted_airbyte import table
from tests.support.servers import ROOT, free_port, server

SOURCE = "airport_ops"
Json = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """A flow run that ended: the flow's state, and the server's tables."""

    id: str
    state: State[Any]
    tables: dict[str, list[Json]]

    @property
    def result(self) -> Any:
        """Return value of the flow; raises the flow's exception."""
        return self.state.result()


@dataclass
class FlowEnvironment:
    """The servers, and what tests of flows look at."""

    stack: LocalStack
    api: PrefectApi
    airbyte: AirbyteClient
    lake: Lake
    warehouse: Warehouse
    source: SourceContract
    pubsub: PubSub
    began: datetime
    subscriptions: dict[str, tuple[str, list[Json]]]

    def run(self, flow: Flow[..., Any], **parameters: Any) -> Ran:
        """Run a flow in this process, to any end."""
        state = cast(Any, flow)(**parameters, return_state=True)  # Prefect's overloads take Any for NoReturn
        run_id = str(state.state_details.flow_run_id)
        return Ran(run_id, state, self.api.artifacts(run_id))

    def runs(self) -> list[str]:
        """Ids of all runs of flows until now."""
        return [run.id for run in self.api.runs(self.began)]

    def result_keys(self, ran: Ran) -> dict[str, str]:
        """Return the storage key of the result of each task of a run, by the task's function."""
        run_filter = FlowRunFilter.model_validate({"id": {"any_": [ran.id]}})
        with get_client(sync_client=True) as client:
            task_runs = client.read_task_runs(flow_run_filter=run_filter)
        states = {run.task_key.rsplit(".", 1)[-1].split("-")[0]: run.state for run in task_runs}
        return {task: str(state.data.storage_key) for task, state in states.items() if state and state.data}

    def progress(self, ran: Ran) -> list[str]:
        """Return the descriptions of a run's progress artifacts."""
        query = {"artifacts": {"flow_run_id": {"any_": [ran.id]}, "type": {"any_": ["progress"]}}}
        artifacts = httpx.post(f"{PREFECT_API_URL.value()}/artifacts/filter", json=query).raise_for_status().json()
        return [artifact["description"] for artifact in artifacts]

    def change(self, sql: str, *values: Any) -> None:
        """Change the operations database, as the airport would."""
        with closing(sqlite3.connect(self.stack.database)) as db, db:
            db.execute(sql, values)

    def jobs(self) -> list[int]:
        """Ids of the newest syncs, newest first."""
        connection = self.airbyte.connection(SOURCE)["connectionId"]
        return [job.id for job in self.airbyte.newest_jobs(connection, limit=20)]

    def manifests(self, stream: str, *, empty: bool = False) -> list[str]:
        return [info.name for info in self.lake.list(names.manifests_prefix(SOURCE, stream, empty=empty))]

    def landed(self, manifest: str) -> list[Json]:
        """Rows of a manifest's objects."""
        objects = LandingManifest.model_validate_json(self.lake.read(manifest)).objects
        return [row for o in objects for row in table(self.lake, o.name).to_pylist()]

    def pending(self, stream: str) -> list[str]:
        return pending(self.lake, self.warehouse, self.source.stream(stream))

    def ledger(self, *kinds: str) -> list[LedgerEntry]:
        return self.warehouse.ledger(EVER, kinds=kinds)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the warehouse."""
        return _query(self.stack.state / "warehouse" / "warehouse.duckdb", sql)

    def marts(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the marts, as readers see them."""
        return _query(self.stack.marts, sql)

    def messages(self, topic: str) -> list[Json]:
        """All that was published on a topic until now."""
        subscription, messages = self.subscriptions[topic]
        while received := self.pubsub.due(subscription):
            self.pubsub.ack(subscription, received)
            messages += [json.loads(r.message.data) for r in received]
        return messages

    def slot(self, name: str) -> int:
        """Return the number of active slots of a concurrency limit."""
        with get_client(sync_client=True) as client:
            return client.read_global_concurrency_limit_by_name(name).active_slots

    def leak(self, name: str) -> None:
        """Leave a slot taken, as a run does that is killed while the server forgets its lease."""
        with get_client(sync_client=True) as client:
            client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=1))

    def settle(self) -> None:
        """Merge what earlier tests left, and note that it is published and shown, without building the marts."""
        for stream in self.source.streams:
            if self.pending(stream):
                merge(SOURCE, stream)
        at, candidate = datetime.now(UTC), f"settled_{uuid.uuid4().hex}"
        if unpublished := self.warehouse.unpublished():
            self.warehouse.append(*(published_entry(e.batch_id, candidate, "settled", at) for e in unpublished))
        if publication := self.warehouse.unannounced_publication():
            self.warehouse.append(announced_entry(publication.candidate, publication.run_id, at, ""))
        if publication_fact := self.warehouse.newest_model():
            self.lake.write(names.SHOWN, publication_fact.batch_id.encode())

    def snapshot(self) -> list[Any]:
        """All that a flow may change: the lake but for results and the status, the ledger, marts, slots and syncs."""
        left_out = (names.RESULTS, names.STATUS_PAGE, names.STATUS_SYNCS)
        objects = [(i.name, i.generation) for i in self.lake.list("") if not i.name.startswith(left_out)]
        slots = [names.MODEL_SLOT, *(names.merge_slot(SOURCE, stream) for stream in self.source.streams)]
        taken = {name: self.slot(name) for name in slots}
        return [objects, self.ledger(), self.stack.marts.stat().st_ino, taken, self.jobs()]


def _query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as db:
        return db.execute(sql).fetchall()


@contextmanager
def flow_environment(folder: Path) -> Iterator[FlowEnvironment]:
    """All servers up, everything provisioned and registered, and a day in the operations database."""
    from cli.deploy.blocks import register_blocks, register_limits  # imports Google's AI libraries, which takes seconds

    local = LocalStack(folder, {service: free_port() for service in PREFERRED_PORTS})
    credentials = {name: secrets.token_urlsafe(12) for name in (*NAMES, source.PASSWORD_SECRET, "slack-token")}
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in (platform_settings(local) | {"MILLRACE_AIRBYTE__POLL_S": "0.1"}).items():
            patch.setenv(name, value)
        quiet = {
            PREFECT_HOME: folder / "prefect",
            PREFECT_LOGGING_TO_API_ENABLED: False,
            PREFECT_SERVER_ANALYTICS_ENABLED: False,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        stack.enter_context(temporary_settings(quiet))
        with ThreadPoolExecutor(1) as meanwhile:
            started = meanwhile.submit(_start_servers, stack, local, credentials)
            stack.enter_context(harness())
            started.result()
        settings, sources = load_settings(), load_sources(ROOT / "sources")
        register_blocks(settings)
        with get_client(sync_client=True) as client:
            register_limits(client, sources.values())
        airbyte = stack.enter_context(
            AirbyteClient(settings.airbyte.url, credentials["airbyte-client-id"], credentials["airbyte-client-secret"])
        )
        apply(airbyte, sources[SOURCE], settings.lake.url)
        pubsub = PubSub(local.ports["pubsub"])
        yield FlowEnvironment(
            local,
            PrefectApi(PREFECT_API_URL.value()),
            airbyte,
            open_lake(settings.lake.url, settings.lake.endpoint),
            open_warehouse(settings.warehouse),
            sources[SOURCE],
            pubsub,
            datetime.now(UTC),
            {topic: (pubsub.subscription(f"projects/{PROJECT}/topics/{topic}"), []) for topic in names.TOPICS},
        )


def _start_servers(servers: ExitStack, stack: LocalStack, credentials: dict[str, str]) -> None:
    """Start the stand-ins for Google Cloud and Airbyte at the stack's ports."""
    airbyte_environment = {
        "MILLRACE_AIRBYTE_CLIENT_ID": credentials["airbyte-client-id"],
        "MILLRACE_AIRBYTE_CLIENT_SECRET": credentials["airbyte-client-secret"],
    } | source.environment(stack.state)
    airbyte_options = (
        "--storage",
        stack.http("storage"),
        "--bucket",
        BUCKET,
        "--secrets",
        stack.grpc("secrets"),
        "--project",
        PROJECT,
    )
    for name, options, environment in (
        ("secrets", (), {}),
        ("pubsub", (), {}),
        ("storage", ("--pubsub", stack.grpc("pubsub")), {}),
        ("airbyte", airbyte_options, airbyte_environment),
    ):
        servers.enter_context(server(name, stack.state / name, *options, env=environment, port=stack.ports[name]))
    servers.enter_context(listening(stack.ports["gateway"], lambda _: (200, {})))  # takes pushes, and starts nothing
    provision(stack, credentials)
    source.provision(stack.state, credentials)
    replay.advance(stack.database, 1)
