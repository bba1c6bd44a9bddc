"""The worker of warm pools with a real Prefect server: ends of runs, cancelling, draining and its own death."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings
from prefect.states import Cancelling, Scheduled

from millrace.worker.warm_worker import WarmWorker
from tests.support.harness import harness
from tests.support.servers import ROOT, process, wait_until
from tests.support.slow import slow

pytestmark = slow()
FLOWS = "tests/support/kubernetes_flows.py"


@dataclass
class Pool:
    """A pool of the type, and ways to start its workers and runs."""

    name: str
    folder: Path

    @contextmanager
    def worker(self, drain_s: int = 0) -> Iterator["subprocess.Popen[bytes]"]:
        env = {
            "PREFECT_API_URL": PREFECT_API_URL.value(),
            "PREFECT_HOME": str(self.folder / "home"),
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "MILLRACE_CONFIG": "local",
            "MILLRACE_POOLS__DRAIN_S": str(drain_s),
            "TMPDIR": str(self.folder),
        }
        arguments = ("--pool", self.name, "--type", WarmWorker.type, "--prefetch-seconds", "1")
        with process("-m", "prefect", "worker", "start", *arguments, env=env, log=self.log) as started:
            wait_until(lambda: "started!" in self.log.read_text(), "the worker has started", 240)
            yield started

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    def start(self, flow: str, job_variables: dict[str, Any] | None = None, **parameters: Any) -> uuid.UUID:
        """Start a run of a flow of the tests, from a deployment in the pool."""
        from prefect.flows import load_flow_from_entrypoint

        loaded = load_flow_from_entrypoint(str(ROOT / f"{FLOWS}:{flow}"), use_placeholder_flow=False)
        with get_client(sync_client=True) as client:
            deployment = client.create_deployment(
                flow_id=client.create_flow(loaded),
                name=uuid.uuid4().hex,
                work_pool_name=self.name,
                entrypoint=f"{FLOWS}:{flow}",
                job_variables=job_variables or {},
                pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            )
            return client.create_flow_run_from_deployment(deployment, parameters=parameters).id


def run_of(run: uuid.UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run)


def state(run: uuid.UUID) -> str:
    current = run_of(run).state
    return current.name if current else ""


def becomes(run: uuid.UUID, name: str, within: float = 120) -> FlowRun:
    ends = {"Completed", "Failed", "Crashed", "Cancelled"}
    wait_until(lambda: state(run) in ends | {name}, f"run {run} is {name}", within)
    assert state(run) == name
    return run_of(run)


def message(run: uuid.UUID) -> str:
    current = run_of(run).state
    return (current.message if current else "") or ""


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with temporary_settings({PREFECT_SERVER_ANALYTICS_ENABLED: False}), harness():
        yield


@pytest.fixture
def pool(server: None, tmp_path: Path) -> Pool:
    return new_pool(tmp_path)


def new_pool(folder: Path) -> Pool:
    name = f"warm-{uuid.uuid4().hex[:8]}"
    template = WarmWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type=WarmWorker.type, base_job_template=template))
    return Pool(name, folder)


@pytest.fixture(scope="module")
def at_work(server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Yield a pool whose worker runs; every test leaves it able to serve the next."""
    pool = new_pool(tmp_path_factory.mktemp("warm"))
    with pool.worker() as worker:
        yield pool
        assert worker.poll() is None


def test_run_completes_and_names_its_process(at_work: Pool) -> None:
    run = becomes(at_work.start("lasts", seconds=0), "Completed")
    host, _, pid = (run.infrastructure_pid or "").rpartition(":")
    assert (host, pid.isdigit()) == (os.uname().nodename, True)


def test_exception_fails_the_run_and_the_next_is_served(at_work: Pool) -> None:
    becomes(at_work.start("raises"), "Failed")
    becomes(at_work.start("lasts", seconds=0), "Completed")


@pytest.mark.parametrize(("flow", "code"), [("exits", "7"), ("kills_itself", "-9")])
def test_lost_process_crashes_the_run_and_the_next_is_served(at_work: Pool, flow: str, code: str) -> None:
    run = at_work.start(flow)
    becomes(run, "Crashed")
    assert f"Process exited with status code: {code}" in message(run)
    becomes(at_work.start("lasts", seconds=0), "Completed")


def test_memory_over_the_limit_ends_the_run_and_the_next_is_served(at_work: Pool) -> None:
    limit = {"memory_limit": "3Gi"}
    run = at_work.start("allocates", limit, gib=4)
    becomes(run, "Failed")
    assert "MemoryError" in message(run)
    becomes(at_work.start("allocates", limit, gib=0), "Completed")


def test_killed_process_crashes_the_run_which_succeeds_on_retry(at_work: Pool) -> None:
    run = at_work.start("lasts", seconds=6)
    becomes(run, "Running")
    wait_until(lambda: run_of(run).infrastructure_pid, "the worker has reported the process")
    os.kill(int((run_of(run).infrastructure_pid or "").rpartition(":")[2]), signal.SIGKILL)
    becomes(run, "Crashed")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Scheduled(), force=True)
    wait_until(lambda: state(run) == "Completed", "the retried run completed", 120)


def test_cancelled_run_ends(at_work: Pool) -> None:
    run = at_work.start("lasts")
    becomes(run, "Running")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())
    becomes(run, "Cancelled")
    becomes(at_work.start("lasts", seconds=0), "Completed")


def test_stopped_worker_awaits_its_runs_and_takes_no_more(pool: Pool) -> None:
    with pool.worker(drain_s=120) as worker:
        run = pool.start("lasts", seconds=10)
        becomes(run, "Running")
        worker.terminate()
        wait_until(lambda: "worker drains; active runs: 1" in pool.log.read_text(), "the worker drains")
        late = pool.start("lasts", seconds=0)
        assert worker.wait(120) == 0
        assert (state(run), state(late)) == ("Completed", "Scheduled")


def test_stopped_worker_ends_runs_after_its_grace_period(pool: Pool) -> None:
    with pool.worker() as worker:
        run = pool.start("lasts")
        becomes(run, "Running")
        worker.terminate()
        worker.wait(60)
        becomes(run, "Crashed")


def test_killed_worker_ends_the_processes_of_its_runs(pool: Pool) -> None:
    with pool.worker() as worker:
        run = pool.start("lasts", mark=str(pool.folder / "mark"))
        becomes(run, "Running")
        wait_until((pool.folder / "mark").exists, "the flow runs")
        worker.kill()
        wait_until(lambda: not lives(int((pool.folder / "mark").read_text())), "the run's process has ended", 60)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
