"""The process that owns the stack: starts, provisions, registers and supervises it, and stops it on SIGTERM."""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.stack.credentials import load_credentials
from local.stack.environment import process_environment
from local.stack.files import write_atomically
from local.stack.local_stack import LocalStack, load_stack, move_taken_ports
from local.stack.services import servers, workers
from local.stack.supervisor import PortTaken, StackError, Supervisor, end_leftovers
from millrace.project import CODE, current_project
from millrace.project_snapshot import deploy_snapshot, take_snapshot
from millrace.worker.child import end_with_parent

POLL_S = 0.5
MILLRACE = ("cli", "--environment", "local")  # whose addresses are variables of the process
REGISTER = (
    ("interrupted runs", ("local.stack.interrupted",)),
    ("work pool", ("local.stack.pool",)),
    ("blocks", (*MILLRACE, "deploy", "blocks")),
    ("connections", (*MILLRACE, "connections", "apply")),
    ("deployments", (*MILLRACE, "deploy", "deployments")),
    ("automations", (*MILLRACE, "deploy", "automations")),
)


def supervise(state: Path) -> None:
    """Run the stack until SIGTERM or SIGINT.

    Raises:
        StackError: another supervisor holds the state directory, or a process did not come up.
    """
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    with held(state):
        ready = state / "ready.json"
        ready.unlink(missing_ok=True)
        began, stack = time.monotonic(), load_stack(state)
        end_leftovers(stack, say)
        supervisor = Supervisor(stack, say)
        try:
            while True:
                try:
                    run_stack(supervisor, ready, began)
                except PortTaken as taken:
                    say(f"{taken}; starting again with another")
                    ready.unlink(missing_ok=True)
                    supervisor.stop()
        except KeyboardInterrupt:
            say("stopping")
        finally:
            ready.unlink(missing_ok=True)
            supervisor.stop()


def run_stack(supervisor: Supervisor, ready: Path, began: float) -> None:
    """Start the stack, and keep its processes running.

    Raises:
        StackError: a process did not come up; PortTaken when another program took its port.
    """
    with one_start_at_a_time():
        start_servers(supervisor, began)
    bring_up(supervisor, began)
    write_atomically(ready, json.dumps({"pid": os.getpid()}))
    while True:
        time.sleep(POLL_S)  # looks for processes that ended, and for signals
        supervisor.restart_dead()


@contextmanager
def one_start_at_a_time() -> Iterator[None]:
    """Keep other stacks of this machine from choosing ports until this stack's servers listen on theirs."""
    file = Path(tempfile.gettempdir()) / f"millrace-start-{os.getuid()}.lock"
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start_servers(supervisor: Supervisor, began: float) -> None:
    """Start all servers; a server whose last port is taken gets another."""
    before = supervisor.stack
    stack = supervisor.stack = move_taken_ports(before)
    for name, port in stack.ports.items():
        if port != before.ports[name]:
            say(f"port {before.ports[name]} of {name} is taken by another program; using {port}")
    (stack.state / "warehouse").mkdir(parents=True, exist_ok=True)
    say("starting Prefect, Pub/Sub, Cloud Storage, Secret Manager, Airbyte and the Slack inbox")
    supervisor.start(servers(stack, os.getpid(), load_credentials(stack)))
    say(f"servers answer ({time.monotonic() - began:.0f} s)")


def bring_up(supervisor: Supervisor, began: float) -> None:
    """Provision and register everything on the servers, then start the workers."""
    stack = supervisor.stack
    snapshot = take_snapshot(current_project(), stack.state)
    deploy_snapshot(snapshot, stack.state)
    run_step(stack, "bucket, topics and secrets", ("local.stack.provision",))
    say(f"bucket, topics and secrets exist ({time.monotonic() - began:.0f} s)")
    for title, command in REGISTER:
        run_step(stack, title, command)
    say(f"blocks, connections, deployments and automations are registered ({time.monotonic() - began:.0f} s)")
    supervisor.start(workers(stack))
    say(f"the stack is up ({time.monotonic() - began:.0f} s)")


def run_step(stack: LocalStack, title: str, command: tuple[str, ...]) -> None:
    """Run one of the platform's commands, as an administrator would.

    Raises:
        StackError: the command failed; the message ends with its output.
    """
    log = stack.state / "logs" / f"register-{title.replace(',', '').replace(' ', '-')}.log"
    with log.open("wb") as output:
        completed = subprocess.run(
            [*stack.launcher, *command],
            cwd=CODE,
            env=process_environment(stack),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            preexec_fn=end_with_parent,
        )
    if completed.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise StackError(
            f"{title}: `python -m {' '.join(command)}` failed with exit code {completed.returncode}:\n{tail}"
        )


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Hold the lock of the state directory, so that two stacks never share one.

    Raises:
        StackError: another supervisor holds it.
    """
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"a stack is already running on {state}; see `millrace status`, stop it with `millrace down`"
            ) from None
        yield


def is_held(state: Path) -> bool:
    """Return True when a supervisor holds the state directory."""
    if not (state / "lock").exists():
        return False
    try:
        with held(state):
            return False
    except StackError:
        return True


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"  {text}", flush=True)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Supervise a stack until SIGTERM; return 1 when it can't start."""
    parser = argparse.ArgumentParser(prog="python -m local.stack.supervise", description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    try:
        supervise(parser.parse_args().state.resolve())
    except StackError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
