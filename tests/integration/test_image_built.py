"""The images, built from the Dockerfile: flow runs as uid 10001 with a read-only root, and Dataflow's workers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect_slack import SlackWebhook

from blocks import names as block_names
from blocks.load import load_block
from local.stack.environment import platform_settings
from tests.support.flow_environment import FlowEnvironment, flow_environment
from tests.support.image import Image, build, missing, mounted, temporary_folder
from tests.support.servers import server

SWITCH = "MILLRACE_TEST_IMAGES"
UID, MB = 10001, 10**6

pytestmark = [
    pytest.mark.skipif(not os.environ.get(SWITCH), reason="builds images for minutes; run by `make deploy-check`"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def flows() -> Iterator[Image]:
    with mounted(build("flows")) as image:
        yield image


@pytest.fixture(scope="module")
def beam() -> Iterator[Image]:
    with mounted(build("beam")) as image:
        yield image


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """Return the folder that is an image's /tmp."""
    return temporary_folder(tmp_path)


def test_image_runs_as_its_user_read_only(flows: Image, tmp: Path) -> None:
    assert (flows.user, flows.entrypoint, flows.folder) == (f"{UID}:{UID}", (), "/opt/millrace")
    ran = flows.run(
        "sh", "-c", "id -u; id -G; touch /opt/millrace/x || touch /var/tmp/x; touch /tmp/x && echo here", tmp=tmp
    )
    assert ran.stdout.split() == [str(UID), str(UID), "here"], ran.stderr
    assert ran.stderr.count("Read-only file system") == 2


def test_packages_are_a_layer_of_their_own(flows: Image) -> None:
    """A release of the platform is pulled without its packages, which a node has."""
    *_, packages, platform = flows.layers
    assert packages > 1000 * MB
    assert platform < 30 * MB


@pytest.mark.parametrize("command", ["prefect version", "millrace --help", "dbt --version"])
def test_programs_start_in_the_image(flows: Image, tmp: Path, command: str) -> None:
    ran = flows.run(*command.split(), tmp=tmp)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.demo
def test_flow_run_completes_in_the_image(flows: Image, tmp: Path, tmp_path: Path) -> None:
    with flow_environment(tmp_path / "servers") as servers, slack(servers, tmp_path):
        with get_client(sync_client=True) as client:
            deployment = client.create_deployment(
                flow_id=client.create_flow_from_name("digest"),
                name="in-the-image",
                entrypoint="flows/digest.py:digest",
                pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/millrace"}}],
            )
            run_id = client.create_flow_run_from_deployment(deployment).id
            environment = platform_settings(servers.stack) | {
                "MILLRACE_CONFIG": "local",
                "MILLRACE_WAREHOUSE__URL": "duckdb:////tmp/warehouse.duckdb",
                "MILLRACE_WAREHOUSE__MARTS_URL": "duckdb:////tmp/published.duckdb",
                "PREFECT_API_URL": PREFECT_API_URL.value(),
                "PREFECT__FLOW_RUN_ID": str(run_id),
            }
            ran = flows.run("prefect", "flow-run", "execute", tmp=tmp, timeout_s=900, **environment)
            state = client.read_flow_run(run_id).state
        assert state, ran.stderr
        assert (ran.returncode, state.name) == (0, "Completed"), ran.stdout[-3000:] + ran.stderr[-3000:]


@contextmanager
def slack(servers: FlowEnvironment, folder: Path) -> Iterator[None]:
    """Run the Slack whose address the block has."""
    token = load_block(SlackWebhook, block_names.SLACK).url.get_secret_value().split("/services/", 1)[1]
    env = {"MILLRACE_SLACK_TOKEN": token}
    with server("slack", folder / "slack", env=env, port=servers.stack.ports["slack"]):
        yield


def test_dataflow_worker_finds_apache_beam(beam: Image, tmp: Path) -> None:
    """The program that Dataflow starts runs the steps of Beam's boot program, in the folder that Dataflow mounts."""
    (beam.root / "var" / "opt" / "google").mkdir(parents=True, exist_ok=True)
    command = (*beam.entrypoint, "--id=1", "--semi_persist_dir=/var/opt/google")
    assert command[0] == "/opt/apache/beam/boot"
    ran = beam.run(*command, tmp=tmp, read_only=False)
    assert ran.stdout.split() == ["/opt/venv/bin/python", "apache_beam.runners.worker.sdk_worker_main"], ran.stderr
    without = beam.run(*command, tmp=tmp, read_only=False, RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT="")
    assert without.returncode != 0
    assert "Apache Beam is not installed" in without.stderr
