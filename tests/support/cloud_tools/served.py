"""The real servers behind a port-forward of the page: a Prefect server, and the local Airbyte and Secret Manager."""

from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
from google.api_core.exceptions import NotFound
from google.cloud.secretmanager import SecretManagerServiceClient

from tests.support.cloud_tools.arguments import Refused
from tests.support.cloud_tools.cloud import Cloud
from tests.support.cloud_tools.line import Gone
from tests.support.servers import ROOT, free_port, listens, process, server, wait_until


class LocalSecrets:
    """The local Secret Manager, of the project that `gcloud` was told."""

    def __init__(self, client: SecretManagerServiceClient, project: str) -> None:
        self._client, self._parent = client, f"projects/{project}"

    def create(self, name: str) -> None:
        secret = {"replication": {"automatic": {}}}
        self._client.create_secret(parent=self._parent, secret_id=name, secret=secret)

    def add(self, name: str, value: str) -> int:
        try:
            parent, payload = f"{self._parent}/secrets/{name}", {"data": value.encode()}
            return int(self._client.add_secret_version(parent=parent, payload=payload).name.rsplit("/", 1)[1])
        except NotFound as error:
            raise Refused(f"ERROR: (gcloud.secrets.versions.add) NOT_FOUND: {error.message}") from None

    def read(self, name: str) -> str:
        try:
            version = f"{self._parent}/secrets/{name}/versions/latest"
            return str(self._client.access_secret_version(name=version).payload.data.decode())
        except NotFound as error:
            raise Refused(f"ERROR: (gcloud.secrets.versions.access) NOT_FOUND: {error.message}") from None

    def names(self) -> list[str]:
        return sorted(s.name.rsplit("/", 1)[1] for s in self._client.list_secrets(parent=self._parent))


class Served:
    """What is behind the port-forwards; a restart of a deployment ends those that lead to it."""

    def __init__(self, cloud: Cloud, folder: Path, secrets_port: int, stack: ExitStack) -> None:
        self._cloud, self._folder, self._secrets_port, self._stack = cloud, folder, secrets_port, stack
        self._ports: dict[str, int] = {}
        self._prefect = ExitStack()
        self._known: set[str] = set()
        stack.callback(self._prefect.close)
        cloud.pools, cloud.restarted, cloud.serve = self.pools, self.restarted, self.serve

    def restarted(self, deployment: str) -> None:
        """End the server of a deployment; the next port-forward finds another one."""
        if deployment == "prefect-server" and self._ports.pop(deployment, 0):
            self._prefect.close()

    def serve(self, service: str, forward: Callable[[int], None], gone: Gone) -> None:
        """Lead a port-forward to a server until the caller or the server has ended."""
        if service not in self._ports:
            self._ports[service] = self._start_prefect() if service == "prefect-server" else self._start_airbyte()
        port = self._ports[service]
        forward(port)
        wait_until(lambda: gone() or self._ports.get(service) != port, "the port-forward ends", 1800)

    def _start_airbyte(self) -> int:
        generated = self._cloud.cluster.secrets["airbyte", "airbyte-auth-secrets"]
        login = {
            "MILLRACE_AIRBYTE_CLIENT_ID": generated["instance-admin-client-id"],
            "MILLRACE_AIRBYTE_CLIENT_SECRET": generated["instance-admin-client-secret"],
        }
        options = ["--storage", "http://127.0.0.1:9", "--bucket", f"{self._cloud.project}-lake"]
        options += ["--secrets", f"127.0.0.1:{self._secrets_port}", "--project", self._cloud.project]
        return self._stack.enter_context(server("airbyte", self._folder / "airbyte", *options, env=login))

    def _start_prefect(self) -> int:
        port = free_port()
        own = {
            "PREFECT_UI_ENABLED": "0",
            "PREFECT_HOME": str(self._folder / "prefect"),
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{self._folder / 'prefect.db'}",
            "PREFECT_SERVER_API_AUTH_STRING": self._password(),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT__SERVER_FINAL": "1",
        }
        options = f"--factory tests.support.harness:create_app --host 127.0.0.1 --port {port} --log-level error"
        command = ("-m", "uvicorn", "--app-dir", str(ROOT), *options.split(), "--lifespan", "on")
        self._prefect.enter_context(process(*command, env=own, log=self._folder / "prefect.log"))
        wait_until(lambda: listens(port), "Prefect's server answers", 180)
        return port

    def _password(self) -> str:
        return self._cloud.cluster.secrets["millrace", "prefect-server"]["PREFECT_SERVER_API_AUTH_STRING"]

    def pools(self) -> set[str]:
        """Return the work pools of the server, as it last told them."""
        if port := self._ports.get("prefect-server"):
            login = b64encode(self._password().encode()).decode()
            answer = httpx.post(
                f"http://127.0.0.1:{port}/api/work_pools/filter",
                json={},
                headers={"Authorization": f"Basic {login}"},
                timeout=60,
            )
            self._known = {pool["name"] for pool in answer.raise_for_status().json()}
        return self._known
