"""A batch on Dataflow with the flow's account and, for its workers, Dataflow's: the real SDK on guarded servers."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.cloud import storage

from beam_job.batches import Limits, open_batch
from beam_job.engines.options import Dataflow
from beam_job.stage import stage_batch
from local.servers.rights.policy import Policy
from millrace.access import credentials
from millrace.domain.batch import Batch, Staged
from millrace.domain.errors import AccessDenied
from millrace.lake.gcs import GcsLake
from tests.support.dataflow_server import DataflowServer, dataflow_server, execute
from tests.support.merging import NOON, Merging, upsert
from tests.support.rights import BUCKET, PROJECT, Identities, check_used, enforcing, identities
from tests.support.servers import free_port, wait_until

pytestmark = pytest.mark.slow


@dataclass
class Place:
    """A lake with one batch, opened by the flow's account, and a Dataflow that checks bearers."""

    own: Identities
    server: DataflowServer
    merging: Merging
    batch: Batch
    patch: pytest.MonkeyPatch

    def stage(self) -> Staged:
        settings = {
            "region": "europe-west1",
            "sdk_container_image": "registry.test/millrace/beam:1",
            "service_account_email": self.own.accounts["dataflow"],
            "poll_s": 0.05,
            "endpoint": self.server.url,
            "temp_location": f"gs://{BUCKET}/_staging/dataflow",
        }
        return stage_batch(self.merging.lake, self.merging.contract, self.batch, Dataflow(PROJECT, settings, "r1"))


@contextmanager
def place(folder: Path, *without: str) -> Iterator[Place]:
    """Everything for one batch; the rights lack some permissions from the moment when it is open."""
    from apache_beam.internal.gcp import auth

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        own = stack.enter_context(identities(folder, without))
        ports = stack.enter_context(enforcing(folder, own, "storage"))
        endpoint = f"http://127.0.0.1:{ports['storage']}"
        patch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        patch.setattr(auth._Credentials, "_credentials_init", False)  # Beam keeps the first identity of a process
        own.act_as("operator", patch)
        client = storage.Client(PROJECT, credentials=credentials(endpoint), client_options={"api_endpoint": endpoint})
        client.bucket(BUCKET).create()
        own.act_as("flow", patch)
        lake = GcsLake(f"gs://{BUCKET}", endpoint)
        merging = Merging(lake, folder, limits=Limits(plain_max_bytes=0, in_process_max_bytes=1))
        merging.land(rows=[upsert(1, 10), upsert(1, 11), upsert(2, 12)])
        batch = open_batch(lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
        assert batch
        assert batch.engine == "dataflow"
        server = stack.enter_context(dataflow_server(free_port()))
        server.policy = Policy.load(own.rights)
        yield Place(own, server, merging, batch, patch)


def test_flow_submits_and_workers_write(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        result: list[Any] = []
        staging = threading.Thread(target=lambda: result.append(here.stage()), daemon=True)
        staging.start()
        wait_until(lambda: here.server.jobs, "the job is submitted", 120)
        (job,) = here.server.jobs.values()
        wait_until(lambda: here.merging.lake.stat("_batches/shop/orders/dataflow.json"), "the job is recorded", 60)
        here.own.act_as("dataflow", here.patch)
        execute(job)
        here.own.act_as("flow", here.patch)
        here.server.end(job["id"], "DONE")
        staging.join(60)
        assert result[0].rows_in == 3
        assert here.own.used("denied") == {}
        used = here.own.used()
        check_used("a batch on Dataflow", used)
        assert {"storage.buckets.get", "dataflow.jobs.create", "iam.serviceAccounts.actAs"} <= used["flow"]
        assert {"storage.objects.get", "storage.objects.create"} <= used["dataflow"]


@pytest.mark.parametrize(
    ("permission", "grant"),
    [
        ("storage.buckets.get", "gs://millrace-test-lake --member=.*--role=roles/storage.legacyBucketReader"),
        ("dataflow.jobs.create", "gcloud projects add-iam-policy-binding millrace-test"),
        ("iam.serviceAccounts.actAs", "gcloud iam service-accounts add-iam-policy-binding millrace-dataflow@"),
    ],
)
def test_denied_submission_names_the_permission(tmp_path: Path, permission: str, grant: str) -> None:
    with place(tmp_path, permission) as here:
        with pytest.raises(AccessDenied, match=rf"{permission.replace('.', '[.]')} on .*grant it: .*{grant}"):
            here.stage()
        assert here.server.jobs == {}
