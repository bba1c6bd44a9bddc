"""`make deploy` against a real Prefect server with pools of all three types: checks, deploys, and is idempotent."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
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
from cli.deploy.automations import apply, load_streams, slack_document
from cli.new_project import create_project
from cli.pausing import MISSING_DATA, set_enabled
from millrace.project import Project
from tests.support.harness import harness
from tests.support.servers import ROOT
from tests.support.shop import SHOP
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


def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run one of our commands with the settings of the overlay `gke`."""
    lines = (K8S / "overlays" / "gke" / "settings.env").read_text().splitlines()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "PREFECT_"))}
    env |= dict(line.split("=", 1) for line in lines) | settings
    env |= {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(PREFECT_HOME.value()),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", "cli", "deploy", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def error_of(*arguments: str, **settings: str) -> str:
    process = run(*arguments, **settings)
    assert process.returncode == 1
    return process.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def blocks(client: SyncPrefectClient) -> None:
    """Save the blocks, without the servers that they refer to."""
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


def test_deploy_needs_all_parts_and_is_idempotent(client: SyncPrefectClient, request: pytest.FixtureRequest) -> None:
    assert "has no such work pool; create it with `millrace --environment gcp deploy pools`" in error_of("deployments")
    assert (
        run("pools", "--dry-run").stdout == "would be created: work pool gke\nwould be created: work pool cloud-run\n"
    )
    first = run("--dry-run")
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert {"would be created: block millrace-lake/lake", *(f"would be created: {name}" for name in FLOWS)} <= set(
        lines
    )
    assert "would be created: Millrace: a flow run failed" in lines
    assert client.read_work_pools() == []
    assert client.read_block_documents() == []
    pools = run("pools")
    assert pools.stdout == "created: work pool gke\ncreated: work pool cloud-run\n", pools.stderr
    assert {p.name: p.type for p in client.read_work_pools()} == {"gke": "kubernetes", "cloud-run": "cloud-run-v2"}
    assert "Prefect has no block millrace-lake/lake, " in error_of("deployments")
    assert "run `millrace --environment gcp deploy blocks` first" in error_of("automations")
    request.getfixturevalue("blocks")
    checked = run("--dry-run")
    assert " automations can be applied, " in checked.stdout, checked.stderr
    assert "would be created: Millrace: a flow run failed" in checked.stdout.splitlines()
    assert not client.read_automations()

    dry = run("deployments", "--dry-run")
    assert dry.stdout.splitlines() == [f"would be created: {name}" for name in FLOWS], dry.stderr
    assert client.read_deployments() == []
    deployed = run("deployments", MILLRACE_PROJECT_DIR=str(ROOT))
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    deployments = {d.name: d for d in client.read_deployments()}
    assert {name: d.work_pool_name for name, d in deployments.items()} == {
        n: "cloud-run" if n in ("model", "show") else "gke" for n in FLOWS
    }
    assert all(d.enforce_parameter_schema for d in deployments.values())
    assert len({d.version for d in deployments.values()}) == 1
    assert deployments["merge"].job_variables == {"cpu": "2", "memory": "8Gi"}
    steps = [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/millrace"}}]
    assert all(d.pull_steps == steps for d in deployments.values()), "runs find the code in the image"

    again = run("deployments", "--dry-run")
    assert again.stdout.splitlines() == [f"unchanged: {name}" for name in FLOWS], again.stderr
    moved = run("--dry-run", MILLRACE_POOLS__DBT="gke", MILLRACE_VERSION="1")
    assert "would be updated: work pool gke" in moved.stdout.splitlines(), "runs get their settings from the pool"
    assert "would be updated (work_pool, version): model" in moved.stdout.splitlines()
    assert run("pools").stdout == "unchanged: work pool gke\nunchanged: work pool cloud-run\n"


def test_dropped_deployment_is_removed(client: SyncPrefectClient, blocks: None, tmp_path: Path) -> None:
    """One that an earlier `millrace deploy` made goes with its runs and triggers; one made by hand stays."""
    project = Project(tmp_path / "shop")
    create_project(project.folder)
    client.create_deployment(client.create_flow_from_name("ingest"), name="by-hand", tags=["millrace", "ingest"])
    own = {
        "name": "ingest-shop",
        "entrypoint": "flows/ingest.py:ingest",
        "parameters": {"source": "shop"},
        "tags": ["shop"],
        "schedules": [{"cron": "0 * * * *", "timezone": "UTC", "active": True}],
        "triggers": [{"type": "event", "enabled": True, "expect": ["shop.closed"]}],
    }

    def deploy(*deployments: object, dry_run: bool = False) -> list[str]:
        project.prefect_file.write_text(yaml.safe_dump({"deployments": list(deployments)}))
        ran = run("deployments", *(["--dry-run"] if dry_run else []), MILLRACE_PROJECT=str(project.folder))
        assert ran.returncode == 0, ran.stderr
        return [line for line in ran.stdout.splitlines() if not line.startswith(("updated", "would be updated"))]

    def triggers() -> list[str]:
        answer = client.request("POST", "/automations/filter", json={"limit": 200}).json()
        return [automation["name"] for automation in answer if "ingest-shop" in automation["name"]]

    run("pools")
    assert "created: ingest-shop" in deploy(own)
    made = client.read_deployment_by_name("ingest/ingest-shop")
    assert (sorted(made.tags), len(triggers())) == (["millrace-deploy", "shop"], 1)
    run_id = client.create_flow_run_from_deployment(made.id).id

    assert "would be deleted: ingest/ingest-shop, which prefect.yaml has no more" in deploy(dry_run=True)
    assert client.read_deployment(made.id).schedules
    assert "deleted: ingest/ingest-shop, which prefect.yaml has no more" in deploy()
    with pytest.raises(ObjectNotFound):
        client.read_deployment(made.id)
    with pytest.raises(ObjectNotFound):
        client.read_flow_run(run_id)
    assert triggers() == []
    assert {d.name for d in client.read_deployments()} == {*FLOWS, "by-hand"}
    assert [line for line in deploy(dry_run=True) if "deleted" in line] == []
    client.delete_deployment(client.read_deployment_by_name("ingest/by-hand").id)


def test_changed_pool_is_reported_and_reset(client: SyncPrefectClient, blocks: None) -> None:
    other = {"MILLRACE_POOLS__IMAGE": "registry.test/flows:2"}
    run("pools")
    assert "differs from k8s/pools/gke.yaml" in error_of("deployments", **other)
    whole = run("--dry-run", **other)
    assert whole.returncode == 0, whole.stderr
    assert "would be updated: work pool gke" in whole.stdout.splitlines()
    assert run("pools", **other).stdout == "updated: work pool gke\nupdated: work pool cloud-run\n"
    template = client.read_work_pool("gke").base_job_template
    assert template["variables"]["properties"]["image"]["default"] == "registry.test/flows:2"
    run("pools")


def test_process_pool_takes_the_same_deployments(client: SyncPrefectClient, blocks: None) -> None:
    client.create_work_pool(WorkPoolCreate(name="laptop", type="process"))
    pools = {"MILLRACE_POOLS__DEFAULT": "laptop", "MILLRACE_POOLS__DBT": "laptop"}
    assert run("deployments", "--dry-run", **pools).returncode == 0


def test_pool_of_another_type_is_not_changed(client: SyncPrefectClient, tmp_path: Path) -> None:
    client.create_work_pool(WorkPoolCreate(name="typed", type="process"))
    from cli.deploy.pools import apply_pools
    from millrace.domain.errors import SettingsError

    pools = {"typed": {"type": "kubernetes", "description": "", "concurrency_limit": 1, "base_job_template": {}}}
    with pytest.raises(SettingsError, match="is of type process, and its file says kubernetes; delete it"):
        apply_pools(client, pools)


def test_paused_alert_stays_disabled(client: SyncPrefectClient, blocks: None) -> None:
    stream = SHOP.stream("orders")
    values = {"slack": slack_document(client, names.SLACK), "ui": "http://ui", "runbook": "docs"}

    def deploy_alert() -> list[str]:
        return list(apply(load_streams([ROOT / "automations" / "streams" / "stale.yaml"], values, [stream])).values())

    name = MISSING_DATA.format(stream=stream.id)
    assert not set_enabled(name, enabled=False), "it is not deployed"
    assert deploy_alert() == ["created"]
    assert [set_enabled(name, enabled=False) for _ in range(2)] == [True, False]
    assert deploy_alert() == ["unchanged"]
    assert not Automation.read(name=name).enabled
    assert set_enabled(name, enabled=True)
    assert Automation.read(name=name).enabled
