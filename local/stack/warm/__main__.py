"""Imports the libraries that flows need and forks on request: `python -m local.stack.warm --socket PATH`."""

import argparse
import contextlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from local.servers.serving import parent_watch
from local.stack.supervisor import die_with_parent

GRACE_S = 3.0
# Threads do not survive a fork, so that none may run yet: not OpenBLAS's, nor the allocator's.
QUIET = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "GX_ANALYTICS_ENABLED": "false",
}
# Libraries only, never the project's own modules: a change of those must take effect at the next run.
LIBRARIES = (
    "prefect.main",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.cli",
    "prefect.artifacts",
    "prefect.deployments",
    "prefect.concurrency.sync",
    "prefect.automations",
    "prefect_slack",
    "prefect_gcp.credentials",
    "prefect_gcp.secret_manager",
    "prefect_kubernetes",
    "prefect_shell",
    "google.cloud.storage",
    "google.pubsub_v1",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.compute",
    "fastavro",
    "duckdb",
    "apache_beam",
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "prefect_dbt",
    "dbt.cli.main",
    "dbt.adapters.duckdb",
    "great_expectations",
    "great_expectations.expectations",
    "great_expectations.datasource.fluent.sql_datasource",
    "duckdb_engine",
)


class Warm:
    """Server that forks commands and reports their exit codes to their launchers."""

    def __init__(self, path: Path) -> None:
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, socket.socket] = {}
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._awake, waker = socket.socketpair()
        for end in (self._awake, waker):
            end.setblocking(False)
        self._waker = waker
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._awake, selectors.EVENT_READ)

    def serve(self, parent: int | None) -> None:
        """Serve until SIGTERM, or until the parent process has ended."""
        ending: list[int] = []
        signal.signal(signal.SIGTERM, lambda n, _: ending.append(n))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ended = parent_watch(parent)
        while not ending and not ended():
            for key, _ in self._selector.select(timeout=1.0):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._awake:
                    with contextlib.suppress(BlockingIOError):
                        self._awake.recv(4096)
                else:
                    self._relay(key.data, key.fileobj)  # type: ignore[arg-type]
            self._reap()
        for child in self._children:
            _kill(child, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while self._children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        for child in self._children:
            _kill(child, signal.SIGKILL)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(10)
        try:
            _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
            request = json.loads(_read(connection, int.from_bytes(_read(connection, 4), "big")))
        except (OSError, ValueError):
            connection.close()
            return
        child = os.fork()
        if child == 0:
            self._become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._children[child] = connection
        self._selector.register(connection, selectors.EVENT_READ, child)

    def _become(self, request: dict[str, object], descriptors: list[int]) -> None:
        """Turn this fork into the command; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._selector.close()
            for held in (self._listener, self._awake, self._waker, *self._children.values()):
                held.close()
            for target, descriptor in enumerate(descriptors):
                os.dup2(descriptor, target)
                os.close(descriptor)
            os.setsid()
            if sys.platform == "linux":
                die_with_parent(signal.SIGKILL)  # a run would try for minutes to reach a server that has ended too
            code = run_module(request)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)  # the server's own clean-up is not the fork's

    def _relay(self, child: int, connection: socket.socket) -> None:
        """Pass a launcher's signals on; kill the child when its launcher died."""
        try:
            numbers = connection.recv(16)
        except OSError:
            numbers = b""
        if not numbers:
            self._selector.unregister(connection)
            _kill(child, signal.SIGKILL)
        for number in numbers:
            _kill(child, signal.Signals(number))

    def _reap(self) -> None:
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            connection = self._children.pop(child)
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection)
            with contextlib.suppress(OSError):
                connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
            connection.close()


def run_module(request: dict[str, object]) -> int:
    """Run a module as `python -m MODULE …` does; return its exit code."""
    argv = [str(part) for part in request["argv"]]  # type: ignore[attr-defined]
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    os.chdir(str(request["cwd"]))
    sys.path[:] = list(dict.fromkeys([os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path]))
    sys.argv = argv
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    return 0


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise OSError("the launcher closed the connection")
        data += part
    return data


def _kill(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def main() -> None:
    """Import the libraries, then serve."""
    parser = argparse.ArgumentParser(prog="python -m local.stack.warm", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket")
    parser.add_argument("--parent", type=int, help="end when the process with this id ends")
    options = parser.parse_args()
    os.environ |= QUIET
    for library in LIBRARIES:
        try:
            importlib.import_module(library)
        except ImportError as error:
            print(f"local.stack.warm: {library} is not imported ahead: {error}", file=sys.stderr)
    threads = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
    print(f"local.stack.warm ready, {threads} thread(s)", file=sys.stderr, flush=True)
    Warm(options.socket).serve(options.parent)


if __name__ == "__main__":
    main()
