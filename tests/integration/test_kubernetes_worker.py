"""The real worker of the pool `gke` with a real Prefect server, against a small Kubernetes API that runs the pods.

`make test-kubernetes` runs it: it takes minutes, most of which are the start of processes.
"""

import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, Scheduled

from cli.deploy.pools import load_pools
from flows.ingest import ingest
from local.servers.rights.bindings import write_rights
from local.servers.rights.kubernetes import kubernetes_bindings
from millrace.settings import load_settings
from tests.integration.test_alerts import hits
from tests.support.flow_environment import SOURCE, FlowEnvironment, flow_environment
from tests.support.kubernetes_api import cluster
from tests.support.kubernetes_cluster import Cluster, container_environment
from tests.support.rights import PROJECT, used_by
from tests.support.servers import ROOT, free_port, process, wait_until
from tests.support.slow import slow

pytestmark = [pytest.mark.demo, *slow()]
IMAGE = "registry.test/millrace/flows:1"
AUTH = "admin:of-the-test"


@dataclass
class Running:
    """The servers, the cluster, and a way to start a worker."""

    flows: FlowEnvironment
    cluster: Cluster
    folder: Path

    @contextmanager
    def worker(
        self, user: str = "millrace/worker-kubernetes", pool: str = "gke"
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the worker with the environment of its Deployment."""
        deployment = next(yaml.safe_load_all((ROOT / "k8s" / "base" / "worker-kubernetes.yaml").read_text()))
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        variables = {e["name"]: e["value"] for e in container["env"]}
        env = variables | {
            "KUBECONFIG": str(self.cluster.kubeconfig(user)),
            "PREFECT_API_URL": PREFECT_API_URL.value(),
            "PREFECT_API_AUTH_STRING": AUTH,
            "PREFECT_HOME": str(self.folder / f"worker-{uuid.uuid4().hex[:6]}"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
            "PREFECT_WORKER_WEBSERVER_PORT": str(free_port()),
            "PREFECT_LOGGING_SETTINGS_PATH": str(ROOT / "millrace" / "observability" / "logging.yaml"),
        }
        arguments = [pool if a == "gke" else a for a in container["args"][1:]]
        with process("-m", "prefect", *arguments, env=env, log=self.folder / "worker.log") as started:
            yield started

    def deploy(self, entrypoint: str, name: str, pool: str = "gke", **parameters: Any) -> str:
        """Create a deployment in the pool, and return its id."""
        from prefect.flows import load_flow_from_entrypoint

        flow = load_flow_from_entrypoint(str(ROOT / entrypoint), use_placeholder_flow=False)
        with get_client(sync_client=True) as client:
            return str(
                client.create_deployment(
                    flow_id=client.create_flow(flow),
                    name=name,
                    work_pool_name=pool,
                    entrypoint=entrypoint,
                    path=str(ROOT),
                    parameters=parameters,
                    enforce_parameter_schema=False,
                    pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
                )
            )

    def start(self, deployment: str, **parameters: Any) -> str:
        with get_client(sync_client=True) as client:
            return str(client.create_flow_run_from_deployment(uuid.UUID(deployment), parameters=parameters or None).id)

    def state(self, run: str) -> str:
        with get_client(sync_client=True) as client:
            run_state = client.read_flow_run(uuid.UUID(run)).state
        return run_state.name if run_state else ""

    def ends(self, run: str, *states: str, within: float = 150) -> None:
        wait_until(lambda: self.state(run) in states, f"run {run} is {' or '.join(states)}", within)

    def runs_in_its_pod(self, run: str) -> None:
        wait_until(lambda: self.state(run) == "Running", f"run {run} is running", 90)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("kubernetes")
    with ExitStack() as stack:
        flows = stack.enter_context(flow_environment(folder / "place"))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("MILLRACE_POOLS__DEFAULT", "gke")
        patch.setenv("MILLRACE_POOLS__IMAGE", IMAGE)
        objects = {
            "secrets": {"prefect-client": {"PREFECT_API_AUTH_STRING": AUTH}},
            "settings": {},  # a run has them from its pool
            "environment": container_environment(
                PREFECT_HOME=str(folder / "pod"),
                STORAGE_EMULATOR_HOST=flows.stack.http("storage"),
                PUBSUB_EMULATOR_HOST=flows.stack.grpc("pubsub"),
                PREFECT_LOGGING_SETTINGS_PATH=str(ROOT / "millrace" / "observability" / "logging.yaml"),
            ),
        }
        write_rights(folder / "rights.json", PROJECT)
        api = stack.enter_context(cluster(free_port(), folder / "cluster", folder / "rights.json", **objects))
        with get_client(sync_client=True) as client:
            for name, pool in load_pools(load_settings()).items():
                client.create_work_pool(WorkPoolCreate(name=name, **pool))
        yield Running(flows, api, folder)


@pytest.fixture(scope="module")
def at_work(running: Running) -> Iterator[Running]:
    """Yield the cluster with a running worker."""
    with running.worker():
        yield running


def test_merge_and_model_complete_in_pods(at_work: Running) -> None:
    ingest(SOURCE)
    merge = at_work.deploy("flows/merge.py:merge", "merge")
    run = at_work.start(merge, source=SOURCE, stream="airlines")
    at_work.ends(run, "Completed", "Failed", "Crashed")
    assert at_work.state(run) == "Completed"
    assert at_work.flows.pending("airlines") == []
    model = at_work.start(at_work.deploy("flows/model.py:model", "model"))
    at_work.ends(model, "Completed", "Failed", "Crashed", within=240)
    assert at_work.state(model) == "Completed"
    assert at_work.flows.marts("SELECT count(*) FROM marts.dim_airline")[0][0] == 17  # 16, and the unknown one
    lines = at_work.cluster.log()
    (merged,) = [line for line in lines if line.get("event") == "merge.committed"]
    assert merged["logging.googleapis.com/labels"]["flow_run_id"] == run
    assert {"merges", "merges_complete"} <= hits(lines)
    assert "runs_failed" not in hits(lines)


def test_job_matches_its_pool_and_holds_no_secret(at_work: Running) -> None:
    job = next(iter(at_work.cluster.objects["jobs"].values()))
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    [auth] = [e for e in container["env"] if e["name"] == "PREFECT_API_AUTH_STRING"]
    assert auth["valueFrom"]["secretKeyRef"] == {"name": "prefect-client", "key": "PREFECT_API_AUTH_STRING"}
    assert AUTH not in str(job)
    assert at_work.cluster.wrong == []


def test_failing_flow_is_reported(at_work: Running) -> None:
    run = at_work.start(at_work.deploy("tests/support/kubernetes_flows.py:raises", "raises"))
    at_work.ends(run, "Failed")

    def metrics_hit() -> set[str]:
        lines = at_work.cluster.log()
        return hits([x for x in lines if x.get("logging.googleapis.com/labels", {}).get("flow_run_id") == run])

    wait_until(metrics_hit, "the failed run is in the log", 30)
    assert metrics_hit() == {"runs_failed"}


def test_run_with_killed_pod_succeeds_on_retry(at_work: Running) -> None:
    run = at_work.start(at_work.deploy("tests/support/kubernetes_flows.py:lasts", "killed"), seconds=20)
    at_work.runs_in_its_pod(run)
    at_work.cluster.kill(run)
    at_work.ends(run, "Crashed")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(run), Scheduled(), force=True)
    at_work.ends(run, "Completed")

    def exit_codes() -> list[int | None]:
        pods = [
            p
            for p in at_work.cluster.objects["pods"].values()
            if p["metadata"]["labels"]["prefect.io/flow-run-id"] == run
        ]
        ends = [pod["status"]["containerStatuses"][0]["state"].get("terminated", {}) for pod in pods]
        return [end.get("exitCode") for end in ends]

    wait_until(lambda: None not in exit_codes(), "the second pod has ended", 30)
    assert exit_codes() == [137, 0]


def test_cancelled_run_deletes_its_job(at_work: Running) -> None:
    run = at_work.start(at_work.deploy("tests/support/kubernetes_flows.py:lasts", "cancelled"))
    at_work.runs_in_its_pod(run)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(run), Cancelling())
    at_work.ends(run, "Cancelled")


def test_worker_has_all_rights_it_needs(at_work: Running) -> None:
    assert at_work.cluster.refused == []
    granted = {p for b in kubernetes_bindings() for p in b["permissions"] if b["role"] == "flow-runs"}
    used = used_by(at_work.folder / "rights.json")["worker-kubernetes"]
    assert {"create jobs.batch", "list jobs.batch", "list pods"} <= used <= granted


def test_worker_without_rights_crashes_the_run(running: Running) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="other", **load_pools(load_settings())["gke"]))
    run = running.start(running.deploy("tests/support/kubernetes_flows.py:raises", "refused", pool="other"))
    with running.worker("millrace/gateway", pool="other"):
        running.ends(run, "Crashed")
    message = (
        'jobs.batch is forbidden: User "system:serviceaccount:millrace:gateway" cannot create resource "jobs" in API'
        ' group "batch" in the namespace "millrace-flows"'
    )
    assert message in (running.folder / "worker.log").read_text().replace('\\"', '"')
    assert running.cluster.jobs(run) == []


def test_restarted_worker_continues(running: Running) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="restarted", **load_pools(load_settings())["gke"]))
    deployment = running.deploy("tests/support/kubernetes_flows.py:lasts", "restarted", pool="restarted")
    run = running.start(deployment, seconds=15)
    with running.worker(pool="restarted") as first:
        running.runs_in_its_pod(run)
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    later = running.start(deployment, seconds=1)
    with running.worker(pool="restarted"):
        running.ends(later, "Completed")
        running.ends(run, "Completed")
    assert len(running.cluster.jobs(run)) == 1
