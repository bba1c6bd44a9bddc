"""docs/deploy.md, word by word: every command of it, in one shell, against stand-ins of its programs.

Real are the shell, `openssl`, `curl`, `make`, `kubectl kustomize`, `millrace`, `prefect`, the Prefect server, and the
local Secret Manager and Airbyte; `tests/support/cloud_tools` stands in for the rest.
"""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import yaml
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.support.cloud_tools.cloud import Cloud
from tests.support.cloud_tools.page import ELSEWHERE, TOOLS, Names, Place, sections, whole
from tests.support.cloud_tools.served import LocalSecrets, Served
from tests.support.scripted_airbyte import secret_manager
from tests.support.servers import ROOT, server

pytestmark = [pytest.mark.demo, pytest.mark.slow, pytest.mark.timeout(1800)]
NAMES = Names("acme-data", "us-central1", "US", "push.acme.dev")

# The demo's own connector is in no registry; the page says so, and a project's source names an image that is in one.
REGISTRY = '{"millrace/source-airport-ops": {"command": ["an-image-of-your-registry"]}}'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, storage_port: int) -> Iterator[Place]:
    """Return a checkout in which the whole page was given, in one shell."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: the page's commands were not run")
    folder = tmp_path_factory.mktemp("page")
    with ExitStack() as stack:
        port = stack.enter_context(server("secrets", folder / "secrets"))
        manager = stack.enter_context(secret_manager(port))
        cloud = Cloud(LocalSecrets(manager, NAMES.project))
        Served(cloud, folder, port, stack)
        lake = f"http://127.0.0.1:{storage_port}"
        options = {"credentials": AnonymousCredentials(), "client_options": {"api_endpoint": lake}}
        storage.Client(NAMES.project, **options).bucket(f"{NAMES.project}-lake").create()
        environment = {
            "MILLRACE_SECRETS__ENDPOINT": f"127.0.0.1:{port}",
            "MILLRACE_AIRBYTE__CONNECTORS": REGISTRY,
            "MILLRACE_LAKE__ENDPOINT": lake,
        }
        place = Place(folder, cloud, NAMES, environment)
        stack.callback(place.line.close)
        place.environment_with(
            python=f'exec {sys.executable} "$@"',
            millrace=f'exec {sys.executable} -m cli "$@"',
            prefect=f'exec {sys.executable} -m prefect "$@"',
        )
        process = place.run(*whole())
        (folder / "page.log").write_text(process.stdout + process.stderr)
        assert process.returncode == 0, f"{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
        yield place


def asked(place: Place, question: str) -> list[tuple[Any, ...]]:
    """Return what the Prefect server's database has."""
    with closing(sqlite3.connect(place.folder / "prefect.db")) as database:
        return database.execute(question).fetchall()


def test_every_program_was_called(place: Place) -> None:
    assert {call.command.split()[0] for call in place.cloud.calls} == set(TOOLS)
    assert "no value" not in (place.folder / "page.log").read_text()


def test_runs_get_the_new_image_and_its_code(place: Place) -> None:
    image = f"{NAMES.region}-docker.pkg.dev/{NAMES.project}/millrace/flows:0.2.0"
    pools = dict(asked(place, "SELECT name, base_job_template FROM work_pool"))
    for pool in ("gke", "cloud-run"):
        properties = yaml.safe_load(pools[pool])["variables"]["properties"]
        assert properties["image"]["default"] == image
        assert properties["env"]["default"]["MILLRACE_LAKE__URL"] == f"gs://{NAMES.project}-lake"
    steps = [yaml.safe_load(text) for (text,) in asked(place, "SELECT pull_steps FROM deployment")]
    assert len(steps) == len(yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"])
    assert {step["prefect.deployments.steps.set_working_directory"]["directory"] for [step] in steps} == {
        "/opt/millrace"
    }


def test_first_sync_is_asked_for(place: Place) -> None:
    runs = asked(place, "SELECT f.name FROM flow_run r JOIN flow f ON f.id = r.flow_id")
    assert ("ingest",) in runs
    assert ("reconcile",) in runs
    assert asked(place, "SELECT count(*) FROM work_pool WHERE is_paused") == [(0,)]


def test_airbyte_writes_below_its_folder(place: Place) -> None:
    with closing(sqlite3.connect(next((place.folder / "airbyte").glob("*.sqlite")))) as database:
        text = "\n".join(str(row) for row in database.iterdump())
    assert '"gcs_bucket_path": "raw"' in text
    assert "secret_coordinate" not in text
    assert f"{NAMES.project}-lake" in text


def test_nothing_of_the_example_is_left(place: Place) -> None:
    assert place.traces() == []


def test_old_keys_are_gone_and_new_ones_work(place: Place) -> None:
    assert len(place.cloud.keys) == 1
    [hmac] = place.cloud.hmacs
    assert place.cloud.secrets.read("airbyte-hmac-id") == hmac
    assert not (place.checkout / "airbyte-key.json").exists()
    assert place.cloud.exclusions == ["year-end"]


def test_every_command_of_the_page_is_run() -> None:
    assert [section for section in sections() if section != ELSEWHERE] == [
        "From an empty project to the first mart",
        "Upgrade and rollback",
        "Backup and restore",
        "Rotation of secrets",
        "Node upgrades",
    ]
