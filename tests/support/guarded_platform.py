"""The platform with every process as its own account of Terraform's, on servers that enforce what each may do."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, get_current_settings, temporary_settings

from local.demo import source
from local.demo.airport_ops import replay
from local.servers.rights.bindings import read_rights, write_rights
from local.stack.credentials import NAMES
from local.stack.environment import platform_settings
from local.stack.local_stack import BUCKET, PROJECT, LocalStack
from local.stack.ports import PREFERRED_PORTS
from local.stack.provision import provision
from millrace.access import credentials as identity
from millrace.contracts.source import load_sources
from millrace.settings import load_settings
from tests.support.bigquery import ENVIRONMENT, emulator
from tests.support.harness import harness
from tests.support.servers import ROOT, free_port, listens, process, server, wait_until

ROLES = ("operator", "flow", "dbt", "airbyte", "gateway")
SOURCE = "airport_ops"
RUN = """
import importlib, json, sys
for name, parameters in json.loads(sys.argv[1]):
    print("RETURNED", json.dumps(getattr(importlib.import_module(f"flows.{name}"), name)(**parameters), default=str))
"""
STATUS = """
from datetime import UTC, datetime
from millrace.settings import load_settings
from millrace.status.clients import status_clients
from millrace.status.collect import collect
status = collect(status_clients(load_settings()), datetime.now(UTC))
print("RETURNED", json.dumps([[unknown.what, unknown.why] for unknown in status.unknown]))
"""


@dataclass
class GuardedPlatform:
    """Accounts by role, their metadata servers, and the rights that all servers enforce."""

    stack: LocalStack
    rights: Path
    accounts: dict[str, str]
    ports: dict[str, int]
    environment: dict[str, str]

    def of(self, role: str) -> dict[str, str]:
        """Return the environment of a process of an account: the address of its metadata server."""
        address = f"127.0.0.1:{self.ports[role]}"
        return self.environment | {"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address}

    def run(self, role: str, *flows: tuple[str, dict[str, Any]]) -> list[Any]:
        """Run flows, and then collect the status page, in a process of an account; return what each returned."""
        done = subprocess.run(
            [sys.executable, "-c", RUN + STATUS, json.dumps(flows)],
            cwd=ROOT,
            env=os.environ | self.of(role),
            capture_output=True,
            text=True,
            timeout=2700,
        )
        assert done.returncode == 0, f"as {role}: {flows}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        lines = [line for line in done.stdout.splitlines() if line.startswith("RETURNED ")]
        return [json.loads(line.removeprefix("RETURNED ")) for line in lines]


@contextmanager
def guarded_platform(folder: Path) -> Iterator[GuardedPlatform]:
    """All servers up and enforcing, everything provisioned as the operator, blocks registered, a day in the source.

    The warehouse is the BigQuery emulator where its environment is built, else DuckDB, which has no rights.
    """
    from cli.deploy.blocks import register_blocks, register_limits  # imports Google's AI libraries, which takes seconds

    on_bigquery = (ENVIRONMENT / "ready").exists()
    local = LocalStack(folder, {service: free_port() for service in PREFERRED_PORTS})
    rights = folder / "rights.json"
    accounts = write_rights(rights, PROJECT, BUCKET)["accounts"]
    values = {name: secrets.token_urlsafe(12) for name in (*NAMES, source.PASSWORD_SECRET, "slack-token")}
    with ExitStack() as stack:
        ports = {
            role: stack.enter_context(
                server("identity", folder / f"identity-{role}", "--account", accounts[role], "--project", PROJECT)
            )
            for role in ROLES
        }
        environment = platform_settings(local) | {
            "MILLRACE_AIRBYTE__POLL_S": "0.1",
            "MILLRACE_AIRBYTE__SEND_SECRET_VALUES": "true",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
        }
        platform = GuardedPlatform(local, rights, accounts, ports, environment)
        _start_google(stack, platform)
        if on_bigquery:
            lake = local.http("storage")
            warehouse = stack.enter_context(emulator(folder / "bigquery", lake, "--rights", str(rights)))
            environment |= {
                "MILLRACE_WAREHOUSE__URL": f"bigquery://{PROJECT}/US",
                "MILLRACE_WAREHOUSE__MARTS_URL": f"bigquery://{PROJECT}/marts",
                "MILLRACE_WAREHOUSE__ENDPOINT": warehouse.endpoint,
            }
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in platform.of("operator").items():
            patch.setenv(name, value)
        stack.enter_context(temporary_settings({PREFECT_HOME: folder / "prefect"}))
        stack.enter_context(harness())
        environment |= get_current_settings().to_environment_variables(exclude_unset=True)
        environment["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
        provision(local, values)
        if on_bigquery:
            _create_datasets(environment["MILLRACE_WAREHOUSE__ENDPOINT"])
        source.provision(local.state, values)
        replay.advance(local.database, 1)
        _start_platform(stack, platform, values)
        register_blocks(load_settings())
        with get_client(sync_client=True) as client:
            register_limits(client, load_sources(ROOT / "sources").values())
        yield platform


def _start_google(stack: ExitStack, platform: GuardedPlatform) -> None:
    local, own = platform.stack, ("--rights", str(platform.rights))
    signs = ("--identity", str(platform.stack.state / "identity-operator"))
    for name, options in (
        ("secrets", own),
        ("pubsub", (*own, *signs)),
        ("storage", (*own, "--pubsub", local.grpc("pubsub"))),
    ):
        stack.enter_context(server(name, local.state / name, *options, port=local.ports[name]))


def _create_datasets(endpoint: str) -> None:
    """Create what Terraform's module `warehouse` creates."""
    wanted = {b["resource"].split("/")[3] for b in read_rights(PROJECT)["bindings"] if "/datasets/" in b["resource"]}
    client = bigquery.Client(PROJECT, credentials=identity(endpoint), client_options={"api_endpoint": endpoint})
    for name in sorted(wanted):
        client.create_dataset(f"{PROJECT}.{name}")
    client.close()


def _start_platform(stack: ExitStack, platform: GuardedPlatform, values: dict[str, str]) -> None:
    """Start Airbyte and the gateway, each as its account."""
    local = platform.stack
    own = {
        "MILLRACE_AIRBYTE_CLIENT_ID": values["airbyte-client-id"],
        "MILLRACE_AIRBYTE_CLIENT_SECRET": values["airbyte-client-secret"],
        "MILLRACE_AIRBYTE_WEBHOOK": f"{local.http('gateway')}/airbyte/{values['airbyte-webhook-token']}",
    } | source.environment(local.state)
    options = ("--storage", local.http("storage"), "--bucket", BUCKET, "--secrets", local.grpc("secrets"))
    stack.enter_context(
        server(
            "airbyte",
            local.state / "airbyte",
            *options,
            "--project",
            PROJECT,
            env=platform.of("airbyte") | own,
            port=local.ports["airbyte"],
        )
    )
    gateway = ("-m", "millrace.gateway", "--port", str(local.ports["gateway"]))
    certificates = {"MILLRACE_GATEWAY__CERTS_URL": f"http://127.0.0.1:{platform.ports['operator']}/certs"}
    log = local.state / "gateway.log"
    started = stack.enter_context(process(*gateway, env=platform.of("gateway") | certificates, log=log))
    wait_until(lambda: listens(local.ports["gateway"]) or started.poll() is not None, "the gateway answers", 120)
    assert started.poll() is None, log.read_text()[-3000:]
