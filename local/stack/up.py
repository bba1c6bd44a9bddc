"""Starts the supervisor as a separate process, shows its progress, and stops it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from local.stack.local_stack import LocalStack, load_stack
from local.stack.supervise import is_held
from local.stack.supervisor import StackError
from millrace.project import CODE
from millrace.worker.child import end_with_parent

UP_S = 600
DOWN_S = 60


def up(state: Path, say: Callable[[str], None], *, detached: bool) -> LocalStack:
    """Start the stack unless it runs already; a detached one outlives this process.

    Raises:
        StackError: it did not come up; the supervisor's output was shown.
    """
    if is_held(state):
        _wait_ready(state, None)
        return load_stack(state)
    log = state / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    (state / "ready.json").unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.stack.supervise", "--state", str(state)],
            cwd=CODE,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=None if detached else end_with_parent,
        )
    try:
        with log.open() as lines:
            _wait_ready(state, process, lambda: _show(lines.read(), say))
            _show(lines.read(), say)
    except BaseException:
        end(process.pid)
        raise
    return load_stack(state)


def _show(text: str, say: Callable[[str], None]) -> None:
    for line in text.splitlines():
        say(line)


def _wait_ready(
    state: Path, process: subprocess.Popen[bytes] | None, meanwhile: Callable[[], None] = lambda: None
) -> None:
    deadline = time.monotonic() + UP_S
    while not (state / "ready.json").exists():
        meanwhile()
        if process is not None and process.poll() is not None:
            meanwhile()
            raise StackError(f"the stack did not come up; its logs are in {state / 'logs'}")
        if time.monotonic() > deadline:
            raise StackError(f"the stack is not up after {UP_S} s; its logs are in {state / 'logs'}")
        time.sleep(0.2)


def down(state: Path) -> bool:
    """Stop the stack; return False when none was running."""
    ready, pids = state / "ready.json", state / "pids.json"
    if not is_held(state):
        return False
    source = ready if ready.exists() else pids
    pid = json.loads(source.read_text()).get("pid" if source is ready else "supervisor")
    end(int(pid))
    deadline = time.monotonic() + DOWN_S
    while is_held(state) and time.monotonic() < deadline:
        time.sleep(0.1)
    if is_held(state):
        raise StackError(f"the supervisor (process {pid}) did not end in {DOWN_S} s")
    return True


def supervisor_pid(state: Path) -> int:
    """Return the process id of the supervisor of a running stack."""
    return int(json.loads((state / "ready.json").read_text())["pid"])


def end(pid: int) -> None:
    """Send SIGTERM to a supervisor, and wait until it has ended when it is a child of this process."""
    try:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + DOWN_S
        while time.monotonic() < deadline and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.1)
    except (ProcessLookupError, ChildProcessError):
        return
