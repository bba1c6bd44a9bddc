"""Where the local stack keeps its state, and the addresses it found free, chosen once."""

import hashlib
import json
import os
import secrets
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PREFERRED_PORTS = {
    "prefect": 4200,
    "slack": 4300,
    "storage": 4443,
    "airbyte": 8000,
    "gateway": 8080,
    "pubsub": 8085,
    "secrets": 8086,
    "identity": 8087,
}
PROJECT = "millrace-local"
BUCKET = "millrace-lake"
PUSH_ACCOUNT = f"pubsub-push@{PROJECT}.iam.gserviceaccount.com"
POOL = "millrace"


@dataclass(frozen=True)
class Place:
    """One local stack: a state directory, and a port per server."""

    state: Path
    ports: dict[str, int]

    def http(self, service: str) -> str:
        """Address of an HTTP server."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def grpc(self, service: str) -> str:
        """Address of a gRPC server."""
        return f"127.0.0.1:{self.ports[service]}"

    @property
    def prefect_api(self) -> str:
        """Address of the Prefect API."""
        return f"{self.http('prefect')}/api"

    @property
    def database(self) -> Path:
        """The demo's operations database."""
        return self.state / "airport_ops.sqlite"

    @property
    def marts(self) -> Path:
        """The file that readers of the marts open."""
        return self.state / "warehouse" / "published.duckdb"

    @property
    def warm_socket(self) -> Path:
        """Unix socket of the process that flow runs are forked from; its path has a limit of about 100 bytes."""
        inside = self.state / "warm.sock"
        digest = hashlib.sha256(str(self.state).encode()).hexdigest()[:16]
        return inside if len(str(inside)) < 100 else Path(tempfile.gettempdir()) / f"millrace-{digest}.sock"

    @property
    def launcher(self) -> tuple[str, ...]:
        """Command that runs a module as a fork: the module and its arguments follow."""
        return (sys.executable, "-S", "-E", str(ROOT / "local" / "stack" / "warm" / "launch.py"), str(self.warm_socket))

    def environment(self) -> dict[str, str]:
        """Environment of every process of the stack: the caller's, without its Prefect and Millrace settings."""
        base = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MILLRACE_", "GOOGLE_", "DBT_"))}
        no_proxy = ",".join(filter(None, [base.get("NO_PROXY", ""), "127.0.0.1,localhost"]))
        base.pop("PYTHONDONTWRITEBYTECODE", None)
        python_path = os.pathsep.join(filter(None, [str(ROOT), base.get("PYTHONPATH", "")]))
        return (
            base
            | self.settings()
            | self.prefect()
            | {
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), base.get("PATH", "")]),
                "PYTHONPATH": python_path,
                "NO_PROXY": no_proxy,
                "no_proxy": no_proxy,
                "PUBSUB_EMULATOR_HOST": self.grpc("pubsub"),
                "STORAGE_EMULATOR_HOST": self.http("storage"),
                "GOOGLE_CLOUD_PROJECT": PROJECT,
                "AIRPORT_OPS_DATABASE": str(self.database),
                "MILLRACE_STATE": str(self.state),
            }
        )

    def settings(self) -> dict[str, str]:
        """The platform's settings that depend on the place."""
        warehouse = self.state / "warehouse"
        return {
            "MILLRACE_CONFIG": str(ROOT / "config" / "local.toml"),
            "MILLRACE_LAKE__URL": f"gs://{BUCKET}",
            "MILLRACE_LAKE__ENDPOINT": self.http("storage"),
            "MILLRACE_WAREHOUSE__URL": f"duckdb:///{warehouse / 'warehouse.duckdb'}",
            "MILLRACE_WAREHOUSE__MARTS_URL": f"duckdb:///{self.marts}",
            "MILLRACE_EVENTS__PROJECT": PROJECT,
            "MILLRACE_EVENTS__ENDPOINT": self.grpc("pubsub"),
            "MILLRACE_SECRETS__ENDPOINT": self.grpc("secrets"),
            "MILLRACE_AIRBYTE__URL": f"{self.http('airbyte')}/api/public/v1",
            "MILLRACE_GATEWAY__AUDIENCE": f"{self.http('gateway')}/push",
            "MILLRACE_GATEWAY__PUSH_ACCOUNT": PUSH_ACCOUNT,
            "MILLRACE_GATEWAY__CERTS_URL": f"{self.http('identity')}/certs",
            "MILLRACE_POOLS__DEFAULT": POOL,
            "MILLRACE_POOLS__DBT": POOL,
        }

    def prefect(self) -> dict[str, str]:
        """Prefect's settings: quick polling, results in the lake, our loggers in the UI."""
        return {
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_API_URL": self.prefect_api,
            "PREFECT_UI_URL": self.http("prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "true",
            "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
            "PREFECT_RUNNER_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "beam_job,warehouse,tasks",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "MILLRACE_PROJECT_DIR": str(ROOT),
        } | self._logs()

    @staticmethod
    def _logs() -> dict[str, str]:
        """Lines as Cloud Logging reads them where `MILLRACE_LOGS` says json, as in the images; else for people."""
        if os.environ.get("MILLRACE_LOGS") != "json":
            return {}
        return {
            "MILLRACE_LOGS": "json",
            "PREFECT_LOGGING_SETTINGS_PATH": str(ROOT / "millrace" / "observability" / "logging.yaml"),
        }


def load_place(state: Path) -> Place:
    """The place at `state`; ports are chosen at the first call, and again only when another program took one."""
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    file = state / "ports.json"
    ports = json.loads(file.read_text()) if file.exists() else {}
    if set(ports) != set(PREFERRED_PORTS):
        taken: set[int] = set()
        for service, preferred in PREFERRED_PORTS.items():
            ports[service] = free_port(preferred, taken)
            taken.add(ports[service])
        write_atomically(file, json.dumps(ports, indent=1))
    return Place(state, ports)


def move_taken_ports(place: Place) -> Place:
    """The place with new ports where another program took one meanwhile; call it only while the stack is down."""
    taken: set[int] = set()
    ports = {}
    for service, port in place.ports.items():
        ports[service] = free_port(port, taken)
        taken.add(ports[service])
    if ports != place.ports:
        write_atomically(place.state / "ports.json", json.dumps(ports, indent=1))
    return Place(place.state, ports)


def free_port(preferred: int, taken: set[int]) -> int:
    """The preferred port if it is free, else any other."""
    for candidate in (preferred, 0, 0, 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            port = int(probe.getsockname()[1])
            if port not in taken:
                return port
    raise OSError("no free port on 127.0.0.1")


def write_atomically(file: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file whole."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    temporary.touch(mode)
    temporary.write_text(text)
    temporary.replace(file)
