"""Runs a module as a fork of the fork server: `python launch.py SOCKET MEMORY MODULE [ARGUMENT …]`.

Stands in for `python -m MODULE …`: same environment, directory, output, signals and exit code; only the imports of the
libraries are shared. MEMORY limits it, in bytes; 0 for no limit. Without a fork server the module is run in the plain
way. Standard library only, as its own start is what is saved.
"""

import json
import os
import resource
import signal
import socket
import sys


def main(path: str, memory: int, argv: list[str]) -> int:
    """Request a fork and wait for its end; return its exit code."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        if memory:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        os.execv(sys.executable, [sys.executable, "-m", *argv])  # noqa: S606  the plain way
    request = json.dumps({"argv": argv, "env": dict(os.environ), "cwd": os.getcwd(), "memory": memory}).encode()
    socket.send_fds(connection, [b"F"], [0, 1, 2])
    connection.sendall(len(request).to_bytes(4, "big") + request)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: connection.sendall(bytes([n])))
    status = b""
    while len(status) < 4:
        part = connection.recv(4 - len(status))
        if not part:
            return 1  # the fork server died, and its forks with it
        status += part
    return int.from_bytes(status, "big", signed=True)


if __name__ == "__main__":
    code = main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
    if code < 0:  # ended by a signal: end in the same way, for a caller that waits for it
        if -code != signal.SIGKILL:  # which has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
