"""`make deploy` against a real Prefect server with pools of all three types: it checks, deploys, and again is quiet."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)
from prefect_slack import SlackWebhook
from pydantic import SecretStr

from blocks import (
    MillraceAirbyte,
    MillraceCredentials,
    MillraceEventBus,
    MillraceLake,
    MillraceResults,
    MillraceSecret,
    MillraceWarehouse,
    names,
)
from tests.support.harness import harness
from tests.support.servers import ROOT
from tests.support.slow import slow
from tests.unit.test_kubernetes import K8S

pytestmark = slow()
FLOWS = tuple(d["name"] for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    home = {PREFECT_HOME: tmp_path_factory.mktemp("prefect"), PREFECT_SERVER_ANALYTICS_ENABLED: False}
    with (
        temporary_settings(home),
        harness(),
        get_client(sync_client=True) as client,
    ):
        yield client


def run(module: str, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """One of our commands with the settings of the overlay `gke`."""
    lines = (K8S / "overlays" / "gke" / "settings.env").read_text().splitlines()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "PREFECT_"))}
    env |= dict(line.split("=", 1) for line in lines) | settings
    env |= {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(PREFECT_HOME.value()),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def refused(module: str, *arguments: str, **settings: str) -> str:
    said = run(module, *arguments, **settings)
    assert said.returncode == 1
    return said.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def blocks(client: SyncPrefectClient) -> None:
    """The blocks, without the servers that they speak of."""
    credentials = MillraceCredentials(project="millrace-example", endpoint="127.0.0.1:9")
    credentials.save(names.CREDENTIALS, overwrite=True)
    secret = MillraceSecret(secret_name="s", gcp_credentials=credentials)
    for name, block in (
        (names.LAKE, MillraceLake(url="gs://millrace-example-lake")),
        (names.RESULTS, MillraceResults(url="gs://millrace-example-lake")),
        (names.WAREHOUSE, MillraceWarehouse(url="duckdb:///a.duckdb", marts_url="duckdb:///b.duckdb")),
        (names.EVENT_BUS, MillraceEventBus(project="millrace-example")),
        (names.AIRBYTE, MillraceAirbyte(url="http://127.0.0.1:9", client_id=secret, client_secret=secret)),
        (names.SLACK, SlackWebhook(url=SecretStr("http://127.0.0.1:9/hook"))),
    ):
        block.save(name, overwrite=True)


def test_it_deploys_only_when_all_is_there_and_then_is_quiet(
    client: SyncPrefectClient, request: pytest.FixtureRequest
) -> None:
    assert "has no such work pool; make it with `python -m cli.deploy.pools`" in refused("cli.deploy.deployments")
    assert (
        run("cli.deploy.pools", "--dry-run").stdout
        == "would be created: work pool gke\nwould be created: work pool cloud-run\n"
    )
    assert client.read_work_pools() == []
    made = run("cli.deploy.pools")
    assert made.stdout == "created: work pool gke\ncreated: work pool cloud-run\n", made.stderr
    assert {p.name: p.type for p in client.read_work_pools()} == {"gke": "kubernetes", "cloud-run": "cloud-run-v2"}
    assert "Prefect has no block millrace-lake/lake, " in refused("cli.deploy.deployments")
    assert "run `python -m cli.deploy.blocks` first" in refused("automations", "check")
    request.getfixturevalue("blocks")
    checked = run("automations", "check")
    assert " automations can be applied, " in checked.stdout, checked.stderr
    assert not client.read_automations()

    dry = run("cli.deploy.deployments", "--dry-run")
    assert dry.stdout.splitlines() == [f"would be created: {name}" for name in FLOWS], dry.stderr
    assert client.read_deployments() == []
    deployed = run("cli.deploy.deployments")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    there = {d.name: d for d in client.read_deployments()}
    assert {name: d.work_pool_name for name, d in there.items()} == {
        n: "cloud-run" if n == "model" else "gke" for n in FLOWS
    }
    assert all(d.enforce_parameter_schema for d in there.values())
    assert len({d.version for d in there.values()}) == 1
    assert there["merge"].job_variables == {"cpu": "2", "memory": "8Gi"}

    again = run("cli.deploy.deployments", "--dry-run")
    assert again.stdout.splitlines() == [f"unchanged: {name}" for name in FLOWS], again.stderr
    moved = run("cli.deploy.deployments", "--dry-run", MILLRACE_POOLS__DBT="gke", MILLRACE_VERSION="1")
    assert "would be updated (work_pool, version): model" in moved.stdout.splitlines()
    assert run("cli.deploy.pools").stdout == "unchanged: work pool gke\nunchanged: work pool cloud-run\n"


def test_a_pool_that_was_changed_by_hand_is_told_and_brought_back(client: SyncPrefectClient) -> None:
    other = {"MILLRACE_POOLS__IMAGE": "registry.test/flows:2"}
    run("cli.deploy.pools")
    assert "is not what k8s/pools/gke.yaml says" in refused("cli.deploy.deployments", **other)
    assert run("cli.deploy.pools", **other).stdout == "updated: work pool gke\nupdated: work pool cloud-run\n"
    template = client.read_work_pool("gke").base_job_template
    assert template["variables"]["properties"]["image"]["default"] == "registry.test/flows:2"
    run("cli.deploy.pools")


def test_a_process_pool_takes_the_same_deployments(client: SyncPrefectClient, blocks: None) -> None:
    client.create_work_pool(WorkPoolCreate(name="laptop", type="process"))
    pools = {"MILLRACE_POOLS__DEFAULT": "laptop", "MILLRACE_POOLS__DBT": "laptop"}
    assert run("cli.deploy.deployments", "--dry-run", **pools).returncode == 0


def test_a_pool_of_another_type_is_not_changed(client: SyncPrefectClient, tmp_path: Path) -> None:
    client.create_work_pool(WorkPoolCreate(name="typed", type="process"))
    from cli.deploy.pools import apply_pools
    from millrace.domain.errors import SettingsError

    wanted = {"typed": {"type": "kubernetes", "description": "", "concurrency_limit": 1, "base_job_template": {}}}
    with pytest.raises(SettingsError, match="is of type process, and its file says kubernetes; delete it"):
        apply_pools(client, wanted)
