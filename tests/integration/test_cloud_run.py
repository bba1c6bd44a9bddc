"""The real worker of the pool `cloud-run`: its requests to Cloud Run for a run, and its handling of the result."""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from cli.deploy.pools import load_pools
from local.servers.rights.policy import bearer_email
from millrace import cloud_names as cloud
from tests.integration.test_deploy import client as client
from tests.support.cloud_run_server import CloudRunServer, cloud_run_server, errors, schemas
from tests.support.rights import identities, used_by
from tests.support.servers import ROOT, free_port
from tests.support.slow import slow
from tests.unit.test_kubernetes import settings_of

AUTH = "admin:of-the-test"
PROJECT = "millrace-example"


@contextmanager
def enforcing(folder: Path, patch: pytest.MonkeyPatch, *without: str) -> Iterator[CloudRunServer]:
    """Cloud Run, which knows the worker's account; no role has the permissions `without`."""
    with identities(folder, without, PROJECT) as own, cloud_run_server(free_port(), own.rights) as running:
        own.act_as("worker", patch)
        patch.setattr(  # the worker has no setting for its endpoint
            "prefect_gcp.workers.cloud_run_v2.ClientOptions",
            lambda api_endpoint: ClientOptions(api_endpoint=running.url),
        )
        yield running


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudRunServer]:
    with enforcing(tmp_path, monkeypatch) as running:
        yield running


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"launchStag": "GA"}, "job.launchStag: no such field"),
        ({"launchStage": "SOON"}, "'SOON' is none of"),
        ({"template": {"template": {"containers": {}}}}, "containers: expected a list"),
        ({"template": {"template": {"maxRetries": "0"}}}, "expected integer, got '0'"),
    ],
)
def test_check_finds_specs_that_cloud_run_rejects(change: dict[str, Any], message: str) -> None:
    messages = errors(change, schemas()["GoogleCloudRunV2Job"], schemas())
    assert [error for error in messages if message in error], messages


class TestTheWorker:
    """Tests with a Prefect server."""

    pytestmark = slow()

    @pytest.fixture
    def run(self, client: SyncPrefectClient) -> str:
        """Return a run of the model that waits for the worker."""
        from prefect.flows import load_flow_from_entrypoint

        pools = load_pools(settings_of("gke"))
        if "cloud-run" not in {p.name for p in client.read_work_pools()}:
            client.create_work_pool(WorkPoolCreate(name="cloud-run", **pools["cloud-run"]))
        flow = load_flow_from_entrypoint(str(ROOT / "flows" / "model.py:model"), use_placeholder_flow=False)
        deployment = client.create_deployment(
            flow_id=client.create_flow(flow),
            name="model",
            work_pool_name="cloud-run",
            path=str(ROOT),
            entrypoint="flows/model.py:model",
            job_variables={"cpu": "2", "memory": "4Gi"},
        )
        return str(client.create_flow_run_from_deployment(deployment).id)

    @staticmethod
    def work() -> None:
        """Let the worker take the waiting run, and await its end."""
        from prefect_gcp.workers.cloud_run_v2 import CloudRunWorkerV2

        worker = CloudRunWorkerV2(work_pool_name="cloud-run", create_pool_if_not_found=False)
        with temporary_settings({PREFECT_API_AUTH_STRING: AUTH}):
            asyncio.run(worker.start(run_once=True))

    def test_run_is_a_job_with_secrets_by_name(self, run: str, server: CloudRunServer, tmp_path: Path) -> None:
        self.work()
        [job] = server.jobs.values()
        task = job["template"]["template"]
        assert task["serviceAccount"] == cloud.account_email(cloud.DBT, PROJECT)
        assert (task["timeout"], task["maxRetries"]) == ("7200s", 0)
        assert task["vpcAccess"]["networkInterfaces"] == [{"network": "millrace", "subnetwork": "millrace"}]
        [container] = task["containers"]
        assert container["image"] == settings_of("gke").pools.image
        assert container["resources"] == {"limits": {"cpu": "2", "memory": "4Gi"}}
        assert container["command"][:2] == ["prefect", "flow-run"]
        env = {e["name"]: e for e in container["env"]}
        assert env["PREFECT_API_AUTH_STRING"]["valueSource"]["secretKeyRef"] == {
            "secret": "prefect-api-auth-string",
            "version": "latest",
        }
        assert AUTH not in json.dumps(job)
        assert env["MILLRACE_WAREHOUSE__URL"]["value"] == f"bigquery://{PROJECT}/EU"
        assert env["PREFECT__FLOW_RUN_ID"]["value"] == run
        requests = [(method, path) for method, path, _ in server.calls]
        assert requests[0] == ("POST", f"/v2/projects/{PROJECT}/locations/europe-west1/jobs")
        assert requests[-1][0] == "DELETE"
        callers = {bearer_email(authorization) for *_, authorization in server.calls}
        assert callers == {cloud.account_email(cloud.WORKER, PROJECT)}
        assert used_by(tmp_path / "rights.json", "denied") == {}

    def test_job_that_fails_makes_its_run_crashed(
        self, run: str, server: CloudRunServer, client: SyncPrefectClient
    ) -> None:
        server.outcome = "CONDITION_FAILED"
        self.work()
        state = client.read_flow_run(uuid.UUID(run)).state
        assert state
        assert state.is_crashed()

    @pytest.mark.parametrize(
        ("permission", "words"),
        [
            (
                "run.jobs.create",
                r"Permission 'run\.jobs\.create' denied on resource 'projects/.*/jobs/.*' \(or resource",
            ),
            ("run.jobs.run", r"Permission 'run\.jobs\.run' denied on resource"),
            (
                "iam.serviceAccounts.actAs",
                rf"Permission 'iam\.serviceaccounts\.actAs' denied on service account millrace-dbt@{PROJECT}\.iam",
            ),
        ],
    )
    def test_missing_right_crashes_the_run_and_is_named(
        self, run: str, tmp_path: Path, client: SyncPrefectClient, permission: str, words: str
    ) -> None:
        with pytest.MonkeyPatch.context() as patch, enforcing(tmp_path, patch, permission):
            self.work()
        state = client.read_flow_run(uuid.UUID(run)).state
        assert state
        assert state.is_crashed()
        assert re.search(words, str(state.message)), state.message
