"""A batch on Dataflow: the real Beam SDK submits it to a server that keeps jobs, which runs what was submitted."""

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
from millrace.domain.errors import DataflowFailed, ServiceUnavailable, SettingsError
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
    made = Merging(lake, tmp_path, limits=Limits(plain_max_bytes=0, in_process_max_bytes=1))
    made.land(rows=[upsert(1, 10), upsert(1, 11), upsert(2, 12)])
    return made


@pytest.fixture
def batch(merging: Merging) -> Batch:
    found = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert found
    assert found.engine == "dataflow"
    return found


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


def submitted(server: DataflowServer, count: int = 1) -> dict[str, Any]:
    """The newest job, once there are so many."""
    wait_until(lambda: len(server.jobs) == count, f"{count} jobs were submitted", 60)
    return list(server.jobs.values())[-1]


def test_a_job_has_the_batchs_name_private_workers_and_their_account_and_gives_the_same_table(
    server: DataflowServer, merging: Merging, batch: Batch
) -> None:
    staging = Staging(merging, batch, place(server, merging))
    job = submitted(server)
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


def test_a_run_that_starts_again_goes_on_with_the_running_job_and_with_the_one_that_is_done(
    server: DataflowServer, merging: Merging, batch: Batch
) -> None:
    first = Staging(merging, batch, place(server, merging))
    job = submitted(server)
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
def test_a_job_that_nobody_recorded_is_adopted_by_its_name(
    server: DataflowServer, merging: Merging, batch: Batch, status: int
) -> None:
    server.conflict_status = status
    first = Staging(merging, batch, place(server, merging))
    job = submitted(server)
    wait_until(lambda: read_record(merging.lake, "shop", "orders"), "the job is recorded")
    merging.lake.delete("_batches/shop/orders/dataflow.json")
    again = Staging(merging, batch, place(server, merging, "r2"))
    wait_until(lambda: read_record(merging.lake, "shop", "orders"), "the job is adopted")
    execute(job)
    server.end(job["id"], "DONE")
    assert again.wait() == first.wait()
    assert len(server.jobs) == 1


def test_a_job_of_the_batch_for_other_work_is_cancelled_before_another_begins(
    server: DataflowServer, merging: Merging, batch: Batch
) -> None:
    server.create({"name": job_name(batch.id), "labels": {"millrace-arguments": "other"}})
    staging = Staging(merging, batch, place(server, merging))
    job = submitted(server, 2)
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
def test_a_job_that_ends_without_success_says_why_and_where_and_the_next_run_submits_another(
    server: DataflowServer, merging: Merging, batch: Batch, state: str, says: str
) -> None:
    with captured() as lines:
        staging = Staging(merging, batch, place(server, merging))
        job = submitted(server)
        server.end(job["id"], state, "A work item was attempted 4 times", "Traceback: MemoryError")
        with pytest.raises(DataflowFailed, match=says) as failed:
            staging.wait()
    assert f"console.cloud.google.com/dataflow/jobs/europe-west1/{job['id']}?project={PROJECT}" in str(failed.value)
    assert hits(lines) == {"dataflow_failed"}
    again = Staging(merging, batch, place(server, merging))
    job = submitted(server, 2)
    execute(job)
    server.end(job["id"], "DONE")
    assert again.wait().rows_in == 3


def test_news_in_a_file_take_a_second_job_of_the_same_name(
    server: DataflowServer, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", lake.endpoint)
    made = Merging(lake, tmp_path, limits=Limits(plain_max_bytes=0, in_process_max_bytes=1))
    made.land(made.put(parquet([upsert(1, 10) | {"colour": "red"}], PARQUET.append(pa.field("colour", pa.string())))))
    batch = open_batch(made.lake, made.warehouse, made.contract, limits=made.limits, now=NOON)
    assert batch
    staging = Staging(made, batch, place(server, made))
    for count in (1, 2):
        job = submitted(server, count)
        execute(job)
        server.end(job["id"], "DONE")
    assert "colour" in staging.wait().columns
    assert [j["name"] for j in server.jobs.values()] == [job_name(batch.id)] * 2


def test_a_cancelled_run_cancels_its_job_and_no_other_runs(
    server: DataflowServer, merging: Merging, batch: Batch
) -> None:
    staging = Staging(merging, batch, place(server, merging, "mine"))
    submitted(server)
    wait_until(lambda: read_record(merging.lake, "shop", "orders"), "the job is recorded")
    jobs = DataflowJobs(PROJECT, "europe-west1", server.url)
    assert not cancel_job(jobs, merging.lake, "shop", "orders", "another's")
    assert server.states == ["RUNNING"]
    assert cancel_job(jobs, merging.lake, "shop", "orders", "mine")
    assert server.states == ["CANCELLED"]
    with pytest.raises(DataflowFailed, match="was cancelled"):
        staging.wait()
    assert not cancel_job(jobs, merging.lake, "shop", "orders", "mine")


@pytest.mark.parametrize(("status", "error"), [(403, DataflowFailed), (503, ServiceUnavailable)])
def test_a_service_that_says_no_is_told_from_one_that_is_away(
    server: DataflowServer,
    merging: Merging,
    batch: Batch,
    status: int,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("beam_job.engines.dataflow_jobs.RETRY", None)
    server.refuses = status
    with pytest.raises(error, match="Dataflow in europe-west1 of millrace-test"):
        stage_batch(merging.lake, merging.contract, batch, place(server, merging))


def test_settings_that_lack_are_named(merging: Merging, batch: Batch) -> None:
    with pytest.raises(SettingsError, match=r"beam\.dataflow\.region, beam\.dataflow\.temp_location"):
        stage_batch(merging.lake, merging.contract, batch, Dataflow(PROJECT, {}))
