"""A port that another program takes between its choice and the start of the server."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from local.stack import supervise
from local.stack.local_stack import LocalStack
from local.stack.ports import PREFERRED_PORTS
from local.stack.services import Service
from local.stack.supervisor import PortTaken, StackError, Supervisor, answers
from millrace.gateway.app import STACK_HEADER
from tests.support.servers import free_port


@contextmanager
def gateway_of(stack: str) -> Iterator[int]:
    """A server whose health check says that it is the gateway of a stack."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header(STACK_HEADER, stack)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    own = Supervisor(LocalStack(tmp_path, dict(PREFERRED_PORTS)), lambda _: None)
    yield own
    own.stop()


def listen(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))


def test_another_stacks_gateway_is_not_ours() -> None:
    with gateway_of("theirs") as port:
        address = f"http://127.0.0.1:{port}/healthz"
        assert (answers(address), answers(address, "theirs"), answers(address, "ours")) == (True, True, False)


def test_a_taken_port_is_named_as_taken(supervisor: Supervisor) -> None:
    with gateway_of("theirs") as port:
        service = Service("gateway", listen(port), f"http://127.0.0.1:{port}/healthz", "ours", start_limit_s=20)
        with pytest.raises(PortTaken, match=f"port {port} of gateway was taken"):
            supervisor.start([service])


def take(port: int) -> socket.socket:
    """Listen on a port as soon as its server has ended."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    until = time.monotonic() + 20
    while True:
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < until, f"port {port} is never free"
            time.sleep(0.01)
            continue
        taken.listen()
        return taken


def restart_for(seconds: float, supervisor: Supervisor) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        supervisor.restart_dead()
        time.sleep(0.05)


def test_a_port_taken_later_is_noticed(supervisor: Supervisor) -> None:
    port = free_port()
    supervisor.start([Service("slack", listen(port), f"tcp://127.0.0.1:{port}")])
    os.kill(supervisor.pids()["slack"], signal.SIGKILL)
    with take(port), pytest.raises(PortTaken, match=f"port {port} of slack"):
        restart_for(20, supervisor)


def test_a_server_that_fails_otherwise_says_so(supervisor: Supervisor) -> None:
    port = free_port()
    with pytest.raises(StackError, match="slack ended at once") as failed:
        supervisor.start([Service("slack", (sys.executable, "-c", "raise SystemExit(3)"), f"tcp://127.0.0.1:{port}")])
    assert not isinstance(failed.value, PortTaken)


def test_a_stack_moves_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    starts: list[int] = []

    def start(*_: object) -> None:
        starts.append(1)
        if len(starts) == 1:
            raise PortTaken("port 8080 of gateway was taken by another program")
        raise KeyboardInterrupt

    monkeypatch.setattr(supervise, "run_stack", start)
    monkeypatch.setattr(supervise.signal, "signal", lambda *_: None)
    supervise.supervise(tmp_path)
    assert len(starts) == 2
    assert "port 8080 of gateway was taken by another program; starting again with another" in capsys.readouterr().out
