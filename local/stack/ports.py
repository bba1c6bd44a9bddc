"""Chooses a free port of this machine for each server, the preferred one where it is free."""

import socket
from collections.abc import Mapping

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


def choose_ports(preferred: Mapping[str, int]) -> dict[str, int]:
    """Return a free port by service; no two services share one."""
    ports: dict[str, int] = {}
    for service, port in preferred.items():
        ports[service] = free_port(port, set(ports.values()))
    return ports


def free_port(preferred: int, taken: set[int]) -> int:
    """Return the preferred port if it is free, else any other."""
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
    raise OSError("127.0.0.1 has no free port")
