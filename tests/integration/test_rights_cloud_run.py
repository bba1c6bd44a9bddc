"""Cloud Run lets the worker's account do what Terraform grants, and rejects the rest in Google's words and order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from googleapiclient import discovery
from googleapiclient.errors import HttpError
from prefect_gcp.models.cloud_run_v2 import ExecutionV2, JobV2

from local.servers.rights.bindings import write_rights
from local.servers.rights.policy import make_token
from millrace import cloud_names as cloud
from tests.support.cloud_run_server import CloudRunServer, cloud_run_server
from tests.support.rights import PROJECT, check_used, used_by
from tests.support.servers import free_port

REGION, JOB = "europe-west1", "model-1"
NAME = f"projects/{PROJECT}/locations/{REGION}/jobs/{JOB}"
Call = Callable[[Any], object]


def body(secret: str = "prefect-api-auth-string") -> dict[str, Any]:
    reference = {"secretKeyRef": {"secret": secret, "version": "latest"}}
    container = {"image": "flows", "env": [{"name": "PREFECT_API_AUTH_STRING", "valueSource": reference}]}
    task = {"serviceAccount": cloud.account_email(cloud.DBT, PROJECT), "containers": [container]}
    return {"template": {"template": task}}


CALLS: dict[str, Call] = {  # what Prefect's worker calls, in its order, by its own methods
    "run.jobs.create": lambda api: JobV2.create(api, PROJECT, REGION, JOB, body()),
    "run.jobs.get": lambda api: JobV2.get(api, PROJECT, REGION, JOB),
    "run.jobs.run": lambda api: JobV2.run(api, PROJECT, REGION, JOB),
    "run.executions.get": lambda api: ExecutionV2.get(api, f"{NAME}/executions/1"),
    "run.executions.list": lambda api: JobV2.delete(api, PROJECT, REGION, JOB),
}


@contextmanager
def server(folder: Path, *without: str) -> Iterator[CloudRunServer]:
    write_rights(folder / "rights.json", PROJECT, without=without)
    with cloud_run_server(free_port(), folder / "rights.json") as running:
        yield running


def client(running: CloudRunServer, role: str = cloud.WORKER) -> Any:
    """Return Google's client as an account of the platform."""
    identity = Credentials(make_token(cloud.account_email(role, PROJECT)))  # type: ignore[no-untyped-call]
    options = ClientOptions(api_endpoint=running.url)
    return (
        discovery.build("run", "v2", client_options=options, credentials=identity, cache_discovery=False)
        .projects()
        .locations()
    )


def error_of(api: Any, call: Call) -> tuple[int, str]:
    """Return status and message of the answer to a call; 200 without an error."""
    try:
        call(api)
    except HttpError as error:
        return int(error.status_code), str(error.reason)
    return 200, ""


def test_worker_may_do_all_that_it_calls(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        api = client(running)
        assert {name: error_of(api, call)[0] for name, call in CALLS.items()} == dict.fromkeys(CALLS, 200)
        assert JobV2.get(api, PROJECT, REGION, JOB).is_ready(), "its account reads its secret"
    assert used_by(tmp_path / "rights.json", "denied") == {}
    check_used("a run as a job of Cloud Run", used_by(tmp_path / "rights.json"))


@pytest.mark.parametrize("permission", CALLS)
def test_right_taken_away_is_named_by_cloud_run(tmp_path: Path, permission: str) -> None:
    with server(tmp_path, permission) as running:
        running.jobs[NAME] = {}
        resource = f"{NAME}/executions/1" if permission == "run.executions.get" else NAME
        words = f"Permission '{permission}' denied on resource '{resource}' (or resource may not exist)."
        assert error_of(client(running), CALLS[permission]) == (403, words)
        running.jobs.clear()
        assert error_of(client(running), CALLS[permission]) == (403, words), "it does not say whether the job exists"


def test_worker_acts_only_as_its_jobs_account(tmp_path: Path) -> None:
    with server(tmp_path, "iam.serviceAccounts.actAs") as running:
        status, words = error_of(client(running), CALLS["run.jobs.create"])
        account = cloud.account_email(cloud.DBT, PROJECT)
        expected = f"Permission 'iam.serviceaccounts.actAs' denied on service account {account} (or it may not exist)."
        assert (status, words, running.jobs) == (403, expected, {})
        assert error_of(client(running, cloud.DBT), CALLS["run.jobs.create"])[0] == 403


def test_job_is_not_ready_without_its_secret(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        api = client(running)
        JobV2.create(api, PROJECT, REGION, JOB, body("airport-ops-password"))
        job = JobV2.get(api, PROJECT, REGION, JOB)
        assert not job.is_ready()
        assert job.get_ready_condition()["reason"] == "SECRETS_ACCESS_CHECK_FAILED"


def test_caller_without_identity_is_unauthenticated(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        identity = Credentials("opaque")  # type: ignore[no-untyped-call]
        options = ClientOptions(api_endpoint=running.url)
        api = discovery.build("run", "v2", client_options=options, credentials=identity, cache_discovery=False)
        with pytest.raises(RefreshError):  # by which Google's client answers a 401
            CALLS["run.jobs.get"](api.projects().locations())
