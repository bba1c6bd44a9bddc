"""The processes of the local stack, in the order in which they start."""

import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from local.stack.local_stack import BUCKET, POOL, PROJECT, LocalStack
from millrace.project import PLATFORM, current_project
from millrace.worker.names import SOCKET, TYPE

PYTHON, SETTINGS = sys.executable, "local.toml"


@dataclass(frozen=True)
class Service:
    """One process: its command, and the address that answers when it is ready ('' for a process without one)."""

    name: str
    command: tuple[str, ...]
    health: str = ""
    identity: str = ""  # of the stack, for a server whose answer has it
    environment: tuple[tuple[str, str], ...] = ()
    start_limit_s: float = 60

    @property
    def port(self) -> int | None:
        """The port that it listens on, if it does."""
        return urlsplit(self.health).port if self.health and not self.health.startswith("unix:") else None


def servers(stack: LocalStack, supervisor_pid: int, secrets: dict[str, str]) -> list[Service]:
    """Return the servers that must answer before the platform can be registered."""

    def server(name: str, *options: str, health: str = "") -> Service:
        command = (
            PYTHON,
            "-m",
            f"local.servers.{name}",
            "--port",
            str(stack.ports[name]),
            "--state",
            str(stack.state / name),
            "--parent",
            str(supervisor_pid),
            *options,
        )
        return Service(name, command, health or f"tcp://127.0.0.1:{stack.ports[name]}")

    airbyte_credentials = (
        ("MILLRACE_AIRBYTE_CLIENT_ID", secrets["airbyte-client-id"]),
        ("MILLRACE_AIRBYTE_CLIENT_SECRET", secrets["airbyte-client-secret"]),
        ("MILLRACE_AIRBYTE_WEBHOOK", f"{stack.http('gateway')}/airbyte/{secrets['airbyte-webhook-token']}"),
    )
    airbyte = server(
        "airbyte",
        "--storage",
        stack.http("storage"),
        "--bucket",
        BUCKET,
        "--secrets",
        stack.grpc("secrets"),
        "--project",
        PROJECT,
        *(part for file in connector_files() for part in ("--connectors", str(file))),
    )
    slack = server("slack")
    warm = (
        PYTHON,
        "-m",
        "millrace.worker",
        "--socket",
        str(stack.warm_socket),
        "--parent",
        str(supervisor_pid),
    )
    prefect = (
        PYTHON,
        "-m",
        "local.stack.prefect_server",
        "--host",
        "127.0.0.1",
        "--port",
        str(stack.ports["prefect"]),
    )
    return [
        Service("prefect", prefect, f"{stack.prefect_api}/health", start_limit_s=240),
        Service("warm", warm, f"unix://{stack.warm_socket}", start_limit_s=240),
        server("identity", "--project", PROJECT),
        server("pubsub", "--identity", str(stack.state / "identity")),
        server("secrets"),
        server("storage", "--pubsub", stack.grpc("pubsub"), "--identity", str(stack.state / "identity")),
        Service(
            slack.name, slack.command, slack.health, environment=(("MILLRACE_SLACK_TOKEN", secrets["slack-token"]),)
        ),
        Service(airbyte.name, airbyte.command, airbyte.health, environment=airbyte_credentials),
    ]


def connector_files() -> list[Path]:
    """Return the settings that may map images to commands: the platform's, then the project's, made or not."""
    return [PLATFORM / "config" / SETTINGS, current_project().config / SETTINGS]


def workers(stack: LocalStack) -> list[Service]:
    """Return the gateway and the worker, which start once everything is registered."""
    gateway = (PYTHON, "-m", "millrace.gateway", "--port", str(stack.ports["gateway"]))
    worker = (
        *stack.launcher,
        "prefect",
        "worker",
        "start",
        "--pool",
        POOL,
        "--type",
        TYPE,
        "--name",
        "local",
        "--prefetch-seconds",
        "1",
    )
    return [
        Service("gateway", gateway, f"{stack.http('gateway')}/healthz", stack.identity),
        Service("worker", worker, environment=((SOCKET, str(stack.warm_socket)),)),
    ]
