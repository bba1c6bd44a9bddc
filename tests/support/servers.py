"""Servers for tests: real processes on free ports of 127.0.0.1, each ended by its id."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], object], condition: str, timeout_s: float = 30) -> None:
    """Wait for a condition, and look less often the longer it takes; fails with its description."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.02
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {condition}")
        time.sleep(pause_s)
        pause_s = min(1.2 * pause_s, 0.3)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def process(*arguments: str, env: dict[str, str] | None = None, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python process of this project; ended with SIGTERM, then SIGKILL."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **(env or {}), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    with ending(started):
        yield started


@contextmanager
def ending(started: "subprocess.Popen[bytes]") -> Iterator[None]:
    """End a process with SIGTERM, then SIGKILL."""
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(5)


@contextmanager
def server(name: str, state: Path, *options: str, env: dict[str, str] | None = None, port: int = 0) -> Iterator[int]:
    """One of the local servers; gives its port."""
    port = port or free_port()
    state.mkdir(parents=True, exist_ok=True)
    log = state.with_name(state.name + ".log")
    command = ("-m", f"local.servers.{name}", "--port", str(port), "--state", str(state), *options)
    with process(*command, env=env, log=log) as started:
        wait_until(lambda: listens(port) or started.poll() is not None, f"local.servers.{name} answers")
        if started.poll() is not None:
            raise AssertionError(f"local.servers.{name} ended with {started.returncode}: {log.read_text()[-2000:]}")
        yield port
