"""A batch on Dataflow: the real Beam SDK submits it to a server that records the job and runs it."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from beam_job.batches import Limits, open_batch
from beam_job.engines.dataflow import cancel_job, read_record
from beam_job.engines.dataflow_jobs import DataflowJobs
from beam_job.engines.options import Dataflow, job_name
from beam_job.stage import stage_batch
from millrace.domain.batch import Batch, Staged
from millrace.domain.errors import AccessDenied, DataflowFailed, ServiceUnavailable, SettingsError
from millrace.lake.store import Lake
from tests.integration.test_alerts import hits
from tests.support.captured import captured
from tests.support.dataflow_server import DataflowServer, dataflow_server, execute
from tests.support.merging import NOON, PARQUET, Merging, parquet, upsert
from tests.support.servers import free_port, wait_until

PROJECT = "millrace-test"
SETTINGS = {
    "region": "europe-west1",
    "sdk_container_image": "registry.test/millrace/beam:1",
    "max_num_workers": 7,
    "service_account_email": "millrace-dataflow@millrace-test.iam.gserviceaccount.com",
    "subnetwork": "regions/europe-west1/subnetworks/millrace",
    "poll_s": 0.05,
}


@pytest.fixture
def server() -> Iterator[DataflowServer]:
    with dataflow_server(free_port()) as running:
        yield running


@pytest.fixture
def merging(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Merging:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", lake.endpoint)
    helper = Merging(lake, tmp_path, limits=Limits(plain_max_bytes=0, in_process_max_bytes=1))
    helper.land(rows=[upsert(1, 10), upsert(1, 11), upsert(2, 12)])
    return helper


@pytest.fixture
def batch(merging: Merging) -> Batch:
    opened_batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert opened_batch
    assert opened_batch.engine == "dataflow"
    return opened_batch


def place(server: DataflowServer, merging: Merging, run_id: str = "r1", **changes: Any) -> Dataflow:
    own = {"endpoint": server.url, "temp_location": f"{merging.lake.url}/_staging/dataflow"}
    return Dataflow(PROJECT, SETTINGS | own | changes, run_id)


class Staging:
    """One attempt to stage a batch, in a thread."""

    def __init__(self, merging: Merging, batch: Batch, dataflow: Dataflow) -> None:
        self.result: Staged | None = None
        self.error: Exception | None = None
        self._given = (merging.lake, merging.contract, batch, dataflow)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = stage_batch(*self._given)
        except Exception as error:
            self.error = error

    def wait(self) -> Staged:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error
        assert self.result
        return self.result


def newest_job(server: DataflowServer, count: int = 1) -> dict[str, Any]:
    """Return the newest job once the server has the expected number."""
    wait_until(lambda: len(server.jobs) == count, f"{count} jobs were submitted", 60)
    return list(server.jobs.values())[-1]


def test_job_is_private_and_yields_the_same_table(server: DataflowServer, merging: Merging, batch: Batch) -> None:
    staging = Staging(merging, batch, place(server, merging))
    job = newest_job(server)
    assert job["name"] == job_name(batch.id)
    assert job["labels"].items() >= {"app": "millrace", "source": "shop", "stream": "orders"}.items()
    environment = job["environment"]
    assert environment["serviceAccountEmail"] == SETTINGS["service_account_email"]
    (pool,) = environment["workerPools"]
    assert pool["ipConfiguration"] == 2  # WORKER_IP_PRIVATE, by its number
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 7
    assert pool["sdkHarnessContainerImages"][0]["containerImage"] == SETTINGS["sdk_container_image"]
    assert pool["subnetwork"] == SETTINGS["subnetwork"]
    execute(job)
    server.end(job["id"], "DONE")
    staged = staging.wait()
    assert (staged.rows_in, staged.superseded, len(staged.upserts)) == (3, 1, 1)


def test_restarted_run_adopts_its_job(server: DataflowServer, merging: Merging, batch: Batch) -> None:
    first = Staging(merging, batch, place(server, merging))
    job = newest_job(server)
    wait_until(lambda: read_record(merging.lake, "shop", "orders"), "the job is recorded")
    with captured() as lines:
        again = Staging(merging, batch, place(server, merging, "r2"))
        wait_until(lambda: read_record(merging.lake, "shop", "orders")["run_id"] == "r2", "the job is adopted")
        execute(job)
        server.end(job["id"], "DONE")
        assert again.wait() == first.wait()
        assert stage_batch(merging.lake, merging.contract, batch, place(server, merging, "r3")).rows_in == 3
    assert len(server.jobs) == 1
    assert [line["job_id"] for line in lines if line.get("event") == "dataflow.adopted"] == [job["id"]] * 2


@pytest.mark.parametrize("status", [200, 409])
def test_unrecorded_job_is_adopted_by_its_name(
    server: DataflowServer, merging: Merging, batch: Batch, status: int
) -> None:
    server.conflict_status = status
    first = Staging(merging, batch, place(server, merging))
    job = newest_job(server)
    wait_until(lambda: read_record(merging.lake, "shop", "orders"), "the job is recorded")
    merging.lake.delete("_batches/shop/orders/dataflow.json")
    again = Staging(merging, batch, place(server, merging, "r2"))
    wait_until(lambda: read_record(merging.lake, "shop", "orders"), "the job is adopted")
    execute(job)
    server.end(job["id"], "DONE")
    assert again.wait() == first.wait()
    assert len(server.jobs) == 1


def test_job_with_stale_work_is_cancelled_first(server: DataflowServer, merging: Merging, batch: Batch) -> None:
    server.create({"name": job_name(batch.id), "labels": {"millrace-arguments": "other"}})
    staging = Staging(merging, batch, place(server, merging))
    job = newest_job(server, 2)
    assert server.states == ["CANCELLED", "RUNNING"]
    execute(job)
    server.end(job["id"], "DONE")
    assert staging.wait().rows_in == 3


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("FAILED", r"failed: Traceback.*MemoryError \| A work item was attempted 4 times"),
        ("CANCELLED", "was cancelled"),
    ],
)
def test_failed_job_is_explained_and_resubmitted(
    server: DataflowServer, merging: Merging, batch: Batch, state: str, says: str
) -> None:
    with captured() as lines:
        staging = Staging(merging, batch, place(server, merging))
        job = newest_job(server)
        server.end(job["id"], state, "A work item was attempted 4 times", "Traceback: MemoryError")
        with pytest.raises(DataflowFailed, match=says) as failed:
            staging.wait()
    assert f"console.cloud.google.com/dataflow/jobs/europe-west1/{job['id']}?project={PROJECT}" in str(failed.value)
    assert hits(lines) == {"dataflow_failed"}
    again = Staging(merging, batch, place(server, merging))
    job = newest_job(server, 2)
    execute(job)
    server.end(job["id"], "DONE")
    assert again.wait().rows_in == 3


def test_drift_in_a_file_takes_a_second_job(
    server: DataflowServer, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", lake.endpoint)
    helper = Merging(lake, tmp_path, limits=Limits(plain_max_bytes=0, in_process_max_bytes=1))
    helper.land(
        helper.put(parquet([upsert(1, 10) | {"colour": "red"}], PARQUET.append(pa.field("colour", pa.string()))))
    )
    batch = open_batch(
        helper.lake,
        helper.warehouse,
        helper.contract,
        limits=helper.limits,
        now=NOON,
    )
    assert batch
    staging = Staging(helper, batch, place(server, helper))
    for count in (1, 2):
        job = newest_job(server, count)
        execute(job)
        server.end(job["id"], "DONE")
    assert "colour" in staging.wait().columns
    assert [j["name"] for j in server.jobs.values()] == [job_name(batch.id)] * 2


def test_cancelled_run_cancels_only_its_own_job(server: DataflowServer, merging: Merging, batch: Batch) -> None:
    staging = Staging(merging, batch, place(server, merging, "mine"))
    newest_job(server)
    wait_until(lambda: read_record(merging.lake, "shop", "orders"), "the job is recorded")
    jobs = DataflowJobs(PROJECT, "europe-west1", server.url)
    assert not cancel_job(jobs, merging.lake, "shop", "orders", "another's")
    assert server.states == ["RUNNING"]
    assert cancel_job(jobs, merging.lake, "shop", "orders", "mine")
    assert server.states == ["CANCELLED"]
    with pytest.raises(DataflowFailed, match="was cancelled"):
        staging.wait()
    assert not cancel_job(jobs, merging.lake, "shop", "orders", "mine")


@pytest.mark.parametrize(("status", "error"), [(400, DataflowFailed), (403, AccessDenied), (503, ServiceUnavailable)])
def test_service_errors_are_fatal_or_transient(
    server: DataflowServer,
    merging: Merging,
    batch: Batch,
    status: int,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("beam_job.engines.dataflow_jobs.RETRY", None)
    server.refuses = status
    denied = r"dataflow\.jobs\.list on projects/millrace-test; grant it: gcloud projects add-iam-policy-binding"
    with pytest.raises(error, match=denied if status == 403 else "Dataflow in europe-west1 of millrace-test"):
        stage_batch(merging.lake, merging.contract, batch, place(server, merging))


def test_missing_settings_are_named(merging: Merging, batch: Batch) -> None:
    with pytest.raises(SettingsError, match=r"beam\.dataflow\.region, beam\.dataflow\.temp_location"):
        stage_batch(merging.lake, merging.contract, batch, Dataflow(PROJECT, {}))
