"""One local stack: from its state directory and ports come its addresses, files and commands."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from local.demo import source
from local.stack.files import write_atomically
from local.stack.ports import PREFERRED_PORTS, choose_ports
from millrace.worker.names import launch_command

PROJECT = "millrace-local"
BUCKET = "millrace-lake"
PUSH_ACCOUNT = f"pubsub-push@{PROJECT}.iam.gserviceaccount.com"
POOL = "millrace"


@dataclass(frozen=True)
class LocalStack:
    """The platform on one machine: a state directory, and a port per server."""

    state: Path
    ports: dict[str, int]

    def http(self, service: str) -> str:
        """Return the address of an HTTP server."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def grpc(self, service: str) -> str:
        """Return the address of a gRPC server."""
        return f"127.0.0.1:{self.ports[service]}"

    @property
    def prefect_api(self) -> str:
        """Address of the Prefect API."""
        return f"{self.http('prefect')}/api"

    @property
    def database(self) -> Path:
        """Database of the demo's source."""
        return source.database_file(self.state)

    @property
    def warehouse(self) -> Path:
        """DuckDB file of the warehouse."""
        return self.state / "warehouse" / "warehouse.duckdb"

    @property
    def marts(self) -> Path:
        """DuckDB file that readers of the marts open."""
        return self.state / "warehouse" / "published.duckdb"

    @property
    def identity(self) -> str:
        """What tells this stack from others of the machine, whose servers may answer on a port that was ours."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:16]

    @property
    def warm_socket(self) -> Path:
        """Unix socket of the process that flow runs are forked from; its path has a limit of about 100 bytes."""
        inside = self.state / "warm.sock"
        return inside if len(str(inside)) < 100 else Path(tempfile.gettempdir()) / f"millrace-{self.identity}.sock"

    @property
    def launcher(self) -> tuple[str, ...]:
        """Command that runs a module as a fork: the module and its arguments follow."""
        return launch_command(self.warm_socket, 0)


def load_stack(state: Path) -> LocalStack:
    """Return the stack at `state`; its ports are chosen at the first call and then read from its `ports.json`."""
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    file = state / "ports.json"
    ports = json.loads(file.read_text()) if file.exists() else {}
    if set(ports) != set(PREFERRED_PORTS):
        ports = choose_ports(PREFERRED_PORTS)
        write_atomically(file, json.dumps(ports, indent=1))
    return LocalStack(state, ports)


def move_taken_ports(stack: LocalStack) -> LocalStack:
    """Return the stack with new ports where another program took one; call it only while the stack is down."""
    ports = choose_ports(stack.ports)
    if ports != stack.ports:
        write_atomically(stack.state / "ports.json", json.dumps(ports, indent=1))
    return LocalStack(stack.state, ports)
