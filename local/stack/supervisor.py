"""Starts the stack's processes, restarts those that die, and ends them all together."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from local.stack.environment import process_environment
from local.stack.files import write_atomically
from local.stack.local_stack import LocalStack
from local.stack.ports import free_port
from local.stack.services import Service
from millrace.gateway.app import STACK_HEADER
from millrace.worker.child import end_with_parent

GRACE_S = 15.0
FREED_S = 2.0
BACKOFF_S = (0.5, 1, 2, 5, 10)
OURS = ("-m local", "-m prefect", "-m millrace.gateway", "-m millrace.worker", "worker/launch.py")  # in a command line


class StackError(Exception):
    """The stack can't be started or stopped; the message names the part and the remedy."""


class PortTaken(StackError):
    """Another program took a server's port after it was chosen; the stack starts again with another."""


class Supervisor:
    """The stack's processes, all children of this process."""

    def __init__(self, stack: LocalStack, say: Callable[[str], None]) -> None:
        self.stack, self._say = stack, say
        self._services: dict[str, Service] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._restarts: dict[str, int] = {}
        self._restart_at: dict[str, float] = {}

    def start(self, services: Iterable[Service]) -> None:
        """Start processes side by side and wait until each answers.

        Raises:
            StackError: a process did not come up; the message has the end of its log.
        """
        started = list(services)
        for service in started:
            self._services[service.name] = service
            self._spawn(service)
        for service in started:
            self._wait_healthy(service)
        for service in started:  # another program may have taken the address first and answered
            if self._processes[service.name].poll() is not None:
                self._check_port(service)
                raise StackError(self._describe(service, "ended at once"))

    def pids(self) -> dict[str, int]:
        """Return the process id of every running service."""
        return {name: p.pid for name, p in self._processes.items() if p.poll() is None}

    def log_file(self, name: str) -> Path:
        """Return the file that gets a process's output."""
        return self.stack.state / "logs" / f"{name}.log"

    def restart_dead(self) -> None:
        """Restart processes that died, after a pause that grows with each restart; call it often.

        Raises:
            PortTaken: another program listens on the port of one that died.
        """
        for name, process in list(self._processes.items()):
            if process.poll() is None:
                continue
            now = time.monotonic()
            if name not in self._restart_at:
                restarts = self._restarts.get(name, 0)
                self._restart_at[name] = now + BACKOFF_S[min(restarts, len(BACKOFF_S) - 1)]
                self._restarts[name] = restarts + 1
                self._say(f"{name} ended with code {process.returncode}; starting it again")
            elif now >= self._restart_at[name]:
                del self._restart_at[name]
                self._check_port(self._services[name])
                self._spawn(self._services[name])

    def stop(self) -> None:
        """End every process: workers first; those that don't end in time get SIGKILL."""
        for name in reversed(list(self._processes)):
            process = self._processes[name]
            if process.poll() is None:
                _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(process.pid, signal.SIGKILL)
                process.wait(5)
        self._processes.clear()

    def _spawn(self, service: Service) -> None:
        log = self.log_file(service.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._processes[service.name] = subprocess.Popen(
                service.command,
                env=process_environment(self.stack) | dict(service.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.stack.state,
                start_new_session=True,
                preexec_fn=end_with_parent,  # a killed supervisor leaves no process behind
            )
        write_atomically(self.stack.state / "pids.json", json.dumps(self.pids() | {"supervisor": os.getpid()}))

    def _wait_healthy(self, service: Service) -> None:
        deadline = time.monotonic() + service.start_limit_s
        while service.health and not answers(service.health, service.identity):
            process = self._processes[service.name]
            if process.poll() is not None:
                self._check_port(service)
                raise StackError(self._describe(service, "ended at once"))
            if time.monotonic() > deadline:
                raise StackError(self._describe(service, f"did not answer in {service.start_limit_s:.0f} s"))
            time.sleep(0.1)  # a server does not tell when it answers

    def _check_port(self, service: Service) -> None:
        """Raise PortTaken when the port of a server that ended is taken by another program."""
        _signal_group(self._processes[service.name].pid, signal.SIGKILL)  # what a dead server leaves may hold it
        deadline = time.monotonic() + FREED_S
        while service.port and free_port(service.port, set()) != service.port:
            if time.monotonic() > deadline:
                raise PortTaken(f"port {service.port} of {service.name} was taken by another program")
            time.sleep(0.1)  # the kernel frees it when the killed processes have ended

    def _describe(self, service: Service, failure: str) -> str:
        log = self.log_file(service.name)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        return f"{service.name} {failure} ({service.health}); the end of its log {log}:\n{tail}"


def answers(address: str, identity: str = "") -> bool:
    """Return True when a server answers at `tcp://`, `unix://` or `http://`, and for the stack with that identity."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(address.removeprefix("unix://")) == 0
    if address.startswith("tcp://"):
        host, port = address.removeprefix("tcp://").split(":")
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((host, int(port))) == 0
    try:
        with urllib.request.urlopen(address, timeout=2) as response:  # noqa: S310  our own address
            return bool(response.status < 500) and identity in ("", response.headers.get(STACK_HEADER))
    except (urllib.error.URLError, OSError):
        return False


def end_leftovers(stack: LocalStack, say: Callable[[str], None]) -> None:
    """End processes of a stack whose supervisor was killed, if their process ids still run the stack's commands."""
    file = stack.state / "pids.json"
    if not file.exists():
        return
    for name, pid in json.loads(file.read_text()).items():
        if name != "supervisor" and runs_ours(pid):
            say(f"ending {name} ({pid}), left over from a stack that was killed")
            _signal_group(pid, signal.SIGTERM)
            deadline = time.monotonic() + GRACE_S
            while runs_ours(pid) and time.monotonic() < deadline:
                time.sleep(0.1)
            if runs_ours(pid):
                _signal_group(pid, signal.SIGKILL)
    file.unlink(missing_ok=True)


def runs_ours(pid: int) -> bool:
    """Return True when a process runs one of the stack's commands."""
    ps = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return any(word in ps.stdout for word in OURS)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
