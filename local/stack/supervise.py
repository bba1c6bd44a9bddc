"""The process that owns the stack: starts it, provisions and registers, tends it, ends it on SIGTERM."""

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
from local.stack.place import ROOT, Place, load_place, move_taken_ports, write_atomically
from local.stack.services import servers, workers
from local.stack.supervisor import StackError, Supervisor, die_with_parent, end_leftovers

TEND_S = 0.5
REGISTER = (
    ("interrupted runs", ("local.stack.interrupted",)),
    ("work pool", ("local.stack.pool",)),
    ("blocks", ("cli.deploy.blocks",)),
    ("connections", ("blocks.airbyte", "apply")),
    ("deployments", ("cli.deploy.deployments",)),
    ("automations", ("automations", "apply")),
)


def supervise(state: Path) -> None:
    """Run the stack until SIGTERM or SIGINT.

    Raises:
        StackError: another supervisor has the state, or a part did not come up.
    """
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    with held(state):
        ready = state / "ready.json"
        ready.unlink(missing_ok=True)
        began, place = time.monotonic(), load_place(state)
        end_leftovers(place, say)
        supervisor = Supervisor(place, say)
        try:
            with one_start_at_a_time():
                start_servers(supervisor, began)
            bring_up(supervisor, began)
            write_atomically(ready, json.dumps({"pid": os.getpid()}))
            while True:
                time.sleep(TEND_S)
                supervisor.tend()
        except KeyboardInterrupt:
            say("stopping")
        finally:
            ready.unlink(missing_ok=True)
            supervisor.stop()


@contextmanager
def one_start_at_a_time() -> Iterator[None]:
    """Let no other stack of this machine look for free ports while ours are not taken yet."""
    file = Path(tempfile.gettempdir()) / f"millrace-start-{os.getuid()}.lock"
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start_servers(supervisor: Supervisor, began: float) -> None:
    """Start all servers, on other ports where those of last time are taken."""
    before = supervisor.place
    place = supervisor.place = move_taken_ports(before)
    for name, port in place.ports.items():
        if port != before.ports[name]:
            say(f"port {before.ports[name]} of {name} is taken by another program; using {port}")
    (place.state / "warehouse").mkdir(parents=True, exist_ok=True)
    say("starting Prefect, Pub/Sub, Cloud Storage, Secret Manager, Airbyte and the Slack inbox")
    supervisor.start(servers(place, os.getpid(), load_credentials(place)))
    say(f"servers answer ({time.monotonic() - began:.0f} s)")


def bring_up(supervisor: Supervisor, began: float) -> None:
    """What stands on the servers, then the workers."""
    place = supervisor.place
    run_step(place, "bucket, topics and secrets", ("local.stack.provision",))
    say(f"bucket, topics, secrets and the demo's database are there ({time.monotonic() - began:.0f} s)")
    for what, command in REGISTER:
        run_step(place, what, command)
    say(f"blocks, connections, deployments and automations are registered ({time.monotonic() - began:.0f} s)")
    supervisor.start(workers(place))
    say(f"the stack is up ({time.monotonic() - began:.0f} s)")


def run_step(place: Place, what: str, command: tuple[str, ...]) -> None:
    """Run one of the platform's own commands, as an administrator would."""
    log = place.state / "logs" / f"register-{what.replace(',', '').replace(' ', '-')}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [*place.launcher, *command],
            cwd=ROOT,
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise StackError(f"{what}: `python -m {' '.join(command)}` ended with {done.returncode}:\n{tail}")


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Hold the state, so that two stacks never share one.

    Raises:
        StackError: another supervisor has it.
    """
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"a stack is running on {state} already; see `make status`, end it by `make down`"
            ) from None
        yield


def is_held(state: Path) -> bool:
    """Whether a supervisor has the state."""
    if not (state / "lock").exists():
        return False
    try:
        with held(state):
            return False
    except StackError:
        return True


def say(text: str) -> None:
    """One line of progress."""
    print(f"  {text}", flush=True)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Supervise until told to end."""
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
