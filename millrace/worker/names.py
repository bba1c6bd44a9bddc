"""The names by which the worker's parts and the stack that starts them agree; the launcher's command; memory limits."""

import re
import sys
from pathlib import Path

TYPE = "millrace-warm"
SOCKET = "MILLRACE_WARM_SOCKET"  # of a fork server that runs already; without it the worker starts its own
LAUNCHER = Path(__file__).with_name("launch.py")
UNITS = {"": 1, "M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30}
MEMORY = re.compile(r"(\d+)(Mi|Gi|M|G|)")


def memory_bytes(limit: str) -> int:
    """Return the bytes of a limit as Kubernetes writes it, like 2Gi; 0 for an empty one.

    Raises:
        ValueError: it is no such number.
    """
    if not limit:
        return 0
    parts = MEMORY.fullmatch(limit)
    if parts is None:
        raise ValueError(f"memory_limit is {limit!r}; write a number of bytes, or one with M, Mi, G or Gi, like 2Gi")
    return int(parts[1]) * UNITS[parts[2]]


def launch_command(server: Path, memory: int, *module: str) -> tuple[str, ...]:
    """Return the command that runs a module with its arguments as a fork of the server, limited to `memory` bytes."""
    return (sys.executable, "-S", "-E", str(LAUNCHER), str(server), str(memory), *module)
