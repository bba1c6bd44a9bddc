"""Prefect as Google Cloud has it: a server with the settings of its manifest, on PostgreSQL, and deployed flows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import httpx
import yaml

from tests.support.postgres import Postgres, postgres
from tests.support.servers import ROOT, free_port, process, wait_until

FLOWS = ("ingest", "merge", "model", "rotation")
POOL = "test"
START_S = 240
OF_THE_IMAGE = {"PREFECT_HOME", "PREFECT_LOGGING_SETTINGS_PATH", "PREFECT_UI_API_URL"}  # paths and addresses of its own


def manifest_settings() -> dict[str, str]:
    """Return the settings of Prefect's server in its manifest."""
    deployment = next(yaml.safe_load_all((ROOT / "k8s" / "base" / "prefect-server.yaml").read_text()))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if each["name"] not in OF_THE_IMAGE}


@dataclass
class Prefect:
    """The server's process, which can be killed and started again; its runs wait, as there is no worker."""

    folder: Path
    database: Postgres
    port: int
    process: "Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Return the address of the API."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of the server and of the commands that talk to it."""
        return manifest_settings() | {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_API_DATABASE_CONNECTION_URL": self.database.url,
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        }

    def ready(self) -> bool:
        """Return True while the server and its database answer."""
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).is_success
        except httpx.HTTPError:
            return False

    @contextmanager
    def running(self) -> Iterator["Popen[bytes]"]:
        """Run the server until it is ready, and end it at the end."""
        command = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        with process(*command, env=self.environment, log=self.folder / "prefect.log") as started:
            wait_until(lambda: self.ready() or started.poll() is not None, "Prefect on PostgreSQL is ready", START_S)
            assert started.poll() is None, (self.folder / "prefect.log").read_text()[-3000:]
            self.process = started
            yield started

    def deploy(self) -> None:
        """Deploy the flows that events start, with their triggers."""
        pool = {"name": POOL, "type": "process"}
        httpx.post(f"{self.url}/work_pools/", json=pool, timeout=30).raise_for_status()
        variables = {
            "MILLRACE_WORK_POOL": POOL,
            "MILLRACE_DBT_WORK_POOL": POOL,
            "MILLRACE_PROJECT_DIR": str(ROOT),
            "MILLRACE_VERSION": "test",
            "MILLRACE_SHOWN_WINDOW_S": "30",
        }
        names = [part for flow in FLOWS for part in ("--name", flow)]
        completed = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", *names],
            cwd=ROOT,
            env=os.environ | self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr


@contextmanager
def prefect_on_postgres(folder: Path) -> Iterator[Prefect]:
    """A database, a server and the deployed flows."""
    with ExitStack() as stack:
        prefect = Prefect(folder, stack.enter_context(postgres()), free_port())
        with prefect.running():
            prefect.deploy()
            yield prefect
