"""The stand-ins as processes: one owner of a state and a port, on 127.0.0.1 only, that ends on request."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.servers import ROOT, free_port, listens, process, server, wait_until

SERVERS: dict[str, tuple[str, ...]] = {
    "pubsub": (),
    "storage": ("--pubsub", "127.0.0.1:1"),
    "secrets": (),
    "slack": ("--token", "t"),
    "identity": (),
}
PARENT = """
import subprocess, sys, os
started = subprocess.Popen([*sys.argv[1:], "--parent", str(os.getpid())])
started.wait()
"""


def command(name: str, port: int, state: Path) -> tuple[str, ...]:
    return ("-m", f"local.servers.{name}", "--port", str(port), "--state", str(state), *SERVERS[name])


def failed_start(*arguments: str) -> tuple[int, str]:
    """Return exit code and output of a server that cannot start."""
    finished = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    return finished.returncode, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, Path]]]:
    """Return port and state of one server of each kind."""
    folder = tmp_path_factory.mktemp("running")
    with ExitStack() as stack:
        yield {
            name: (stack.enter_context(server(name, folder / name, *options)), folder / name)
            for name, options in SERVERS.items()
        }


@pytest.mark.parametrize("name", SERVERS)
def test_taken_port_is_a_one_line_failure(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, words = failed_start(*command(name, port, tmp_path / "state"))
    assert code == 1
    (line,) = words.splitlines()
    assert str(port) in line
    assert "--port" in line


@pytest.mark.slow
def test_second_server_on_same_state_is_rejected(running: dict[str, tuple[int, Path]]) -> None:
    second = {
        name: subprocess.Popen(
            [sys.executable, *command(name, free_port(), state)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for name, (_, state) in running.items()
    }
    try:
        outputs = {name: refused.communicate(timeout=30)[1] for name, refused in second.items()}
    finally:
        for refused in second.values():
            refused.kill()
            refused.wait(5)
    assert {name: refused.returncode for name, refused in second.items()} == dict.fromkeys(SERVERS, 1)
    for name, (port, state) in running.items():
        assert outputs[name].splitlines() == [f"{state} belongs to another running server; end it first"]
        assert listens(port)


@pytest.mark.parametrize("name", SERVERS)
def test_server_listens_on_127_0_0_1_only(name: str, running: dict[str, tuple[int, Path]]) -> None:
    port, _ = running[name]
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [c for p in mine for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip.removeprefix("::ffff:") for c in listening if c.laddr.port == port} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("name", "number"),
    [*((name, signal.SIGTERM) for name in SERVERS), ("secrets", signal.SIGINT), ("slack", signal.SIGINT)],
)
def test_terminated_server_ends_cleanly(name: str, number: signal.Signals, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with process(*command(name, port, tmp_path / "state"), log=log) as started:
        wait_until(lambda: "ready" in log.read_text(), f"local.servers.{name} is ready")
        started.send_signal(number)
        assert started.wait(10) == 0
    assert log.read_text().splitlines() == [f"local.servers.{name} ready on 127.0.0.1:{port}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_server_ends_when_its_parent_is_killed(name: str, tmp_path: Path) -> None:
    port = free_port()
    arguments = ("-c", PARENT, sys.executable, *command(name, port, tmp_path / "state"))
    with process(*arguments, log=tmp_path / "log") as parent:
        wait_until(lambda: listens(port), f"local.servers.{name} answers")
        (child,) = psutil.Process(parent.pid).children()
        try:
            parent.kill()
            parent.wait(5)
            wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, f"local.{name} ends")
            assert not listens(port)
        finally:
            if child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
                os.kill(child.pid, signal.SIGKILL)
