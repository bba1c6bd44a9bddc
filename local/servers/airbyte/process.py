"""A connector's command in, its messages out; the process never outlives its use."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from local.connectors.protocol import ARROW_FOLDER
from local.servers.airbyte.connectors import Command

GRACE_S = 5.0
# Run before the connector's command: on Linux it makes the command die with its server (PR_SET_PDEATHSIG is 1), and
# takes the network from one that needs none (CLONE_NEWNET, as root or in a user namespace of its own). As a
# `preexec_fn` it would run gRPC's fork handlers in the child, which then aborts at times.
TIE = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import ctypes, os, signal, sys\n"
    "parent, network, *command = sys.argv[1:]\n"
    "if sys.platform == 'linux':\n"
    "    libc = ctypes.CDLL(None)\n"
    "    if network == 'none' and libc.unshare(0x40000000) and libc.unshare(0x50000000):\n"
    "        print('this machine does not let the connector be without network', file=sys.stderr, flush=True)\n"
    "    libc.prctl(1, signal.SIGKILL)\n"
    "if os.getppid() == int(parent):\n"
    "    os.execvp(command[0], command)\n",
)
ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "TZ", "AIRPORT_OPS_DATABASE")

Message = dict[str, Any]
Log = Callable[[str], None]


@dataclass
class Cancel:
    """The cancellation of a sync: it ends the connector that runs, and each that is started later."""

    requested: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _process: "subprocess.Popen[bytes] | None" = None

    def cancel(self) -> None:
        """Request the end, and end the connector that runs."""
        with self._lock:
            self.requested.set()
            process = self._process
        if process is not None:
            end(process)

    def watch(self, process: "subprocess.Popen[bytes] | None") -> None:
        """Set the connector that runs; end it at once if the sync is cancelled."""
        with self._lock:
            self._process = process
        if process is not None and self.requested.is_set():
            end(process)


@contextmanager
def connector(
    command: Command, verb: str, inputs: dict[str, Any], log: Log, cancel: Cancel, *, arrow: bool = True
) -> Iterator["Connector"]:
    """Run a connector in its own process group; its inputs are files in its home that only its user can read.

    `arrow`: let it write rows as files of Arrow, if it can, in place of a record for each.
    """
    with tempfile.TemporaryDirectory(prefix="connector-") as folder:  # mode 0700
        arguments = [verb]
        for name, content in inputs.items():
            arguments += [f"--{name}", str(_private(Path(folder) / f"{name}.json", content))]
        batches = Path(folder) / "batches"
        batches.mkdir()
        process = _spawn(command, arguments, folder, {ARROW_FOLDER: str(batches)} if arrow else {})
        drained = threading.Thread(target=_drain, args=(process.stderr, log), daemon=True)
        drained.start()
        cancel.watch(process)
        try:
            yield Connector(process, log, batches)
        finally:
            cancel.watch(None)
            end(process)
            drained.join(GRACE_S)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


class Connector:
    """A running connector."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Log, batches: Path) -> None:
        self.process, self._log = process, log
        self.batches = batches  # the folder of its Arrow files, which is gone at its end

    def messages(self) -> Iterator[Message]:
        """Messages until the connector closes its output; other lines go to the log."""
        assert self.process.stdout is not None  # noqa: S101  it was opened with a pipe
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if isinstance(message, dict) and "type" in message:
                yield message
            elif line.strip():
                self._log(f"stdout: {line.decode(errors='replace').rstrip()}")

    def exit_code(self) -> int:
        """Wait for the end; negative is the signal that ended it."""
        return self.process.wait()


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a connector and its child processes: SIGTERM, and SIGKILL for those that do not end."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty
        os.killpg(process.pid, number)


def _spawn(command: Command, arguments: list[str], home: str, own: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a connector without the server's secrets; on Linux it dies with the thread that started it."""
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | own
    environment |= {"HOME": home, "TMPDIR": home}
    tied = [*TIE, str(os.getpid()), "machine" if command.network else "none", *command.words, *arguments]
    return subprocess.Popen(
        tied,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )


def _drain(stream: IO[bytes], log: Log) -> None:
    """Read stderr all the while, else a talkative connector would stand still."""
    for line in stream:
        log(f"stderr: {line.decode(errors='replace').rstrip()}")


def _private(file: Path, content: Any) -> Path:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(content, stream)
    return file
