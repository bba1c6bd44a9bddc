"""The processes of the local stack, in the order in which they start."""

import sys
from dataclasses import dataclass

from local.stack.place import BUCKET, POOL, PROJECT, Place

PYTHON = sys.executable


@dataclass(frozen=True)
class Service:
    """One process: its command, and the address that answers when it is ready ('' when it has none)."""

    name: str
    command: tuple[str, ...]
    health: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    patience_s: float = 60


def servers(place: Place, supervisor_pid: int, secrets: dict[str, str]) -> list[Service]:
    """Everything that must answer before the platform can be registered."""

    def server(name: str, *options: str, health: str = "") -> Service:
        command = (
            PYTHON,
            "-m",
            f"local.servers.{name}",
            "--port",
            str(place.ports[name]),
            "--state",
            str(place.state / name),
            "--parent",
            str(supervisor_pid),
            *options,
        )
        return Service(name, command, health or f"tcp://127.0.0.1:{place.ports[name]}")

    airbyte_credentials = (
        ("MILLRACE_AIRBYTE_CLIENT_ID", secrets["airbyte-client-id"]),
        ("MILLRACE_AIRBYTE_CLIENT_SECRET", secrets["airbyte-client-secret"]),
        ("MILLRACE_AIRBYTE_WEBHOOK", f"{place.http('gateway')}/airbyte/{secrets['airbyte-webhook-token']}"),
    )
    airbyte = server(
        "airbyte",
        "--storage",
        place.http("storage"),
        "--bucket",
        BUCKET,
        "--secrets",
        place.grpc("secrets"),
        "--project",
        PROJECT,
    )
    slack = server("slack")
    warm = (
        PYTHON,
        "-m",
        "local.stack.warm",
        "--socket",
        str(place.warm_socket),
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
        str(place.ports["prefect"]),
    )
    return [
        Service("prefect", prefect, f"{place.prefect_api}/health", patience_s=240),
        Service("warm", warm, f"unix://{place.warm_socket}", patience_s=240),
        server("identity", "--project", PROJECT),
        server("pubsub", "--identity", str(place.state / "identity")),
        server("secrets"),
        server("storage", "--pubsub", place.grpc("pubsub"), "--identity", str(place.state / "identity")),
        Service(slack.name, slack.command, slack.health, (("MILLRACE_SLACK_TOKEN", secrets["slack-token"]),)),
        Service(airbyte.name, airbyte.command, airbyte.health, airbyte_credentials),
    ]


def workers(place: Place) -> list[Service]:
    """What works on events and flow runs, once everything is registered."""
    gateway = (PYTHON, "-m", "millrace.gateway", "--port", str(place.ports["gateway"]))
    worker = (
        PYTHON,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        POOL,
        "--type",
        "process",
        "--name",
        "local",
        "--prefetch-seconds",
        "1",
    )
    return [Service("gateway", gateway, f"{place.http('gateway')}/healthz"), Service("worker", worker)]
