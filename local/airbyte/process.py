"""A connector's command in, its messages out; the process never outlives its use."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

GRACE_S = 5.0

Message = dict[str, Any]
Log = Callable[[str], None]


@dataclass
class Cancel:
    """Tells a sync to stop; ends the connector under way and any that is started after."""

    told: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _process: "subprocess.Popen[bytes] | None" = None

    def cancel(self) -> None:
        """Stop; returns at once or after the connector's grace."""
        with self._lock:
            self.told.set()
            process = self._process
        if process is not None:
            end(process)

    def watch(self, process: "subprocess.Popen[bytes] | None") -> None:
        """Know the connector under way."""
        with self._lock:
            self._process = process
        if process is not None and self.told.is_set():
            end(process)


@contextmanager
def connector(
    command: tuple[str, ...], verb: str, inputs: dict[str, Any], log: Log, cancel: Cancel
) -> Iterator["Connector"]:
    """Run a connector in a process group of its own; its inputs are files that nobody else can read."""
    with tempfile.TemporaryDirectory(prefix="connector-") as folder:  # mode 0700
        arguments = [verb]
        for name, content in inputs.items():
            arguments += [f"--{name}", str(_private(Path(folder) / f"{name}.json", content))]
        process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        drained = threading.Thread(target=_drain, args=(process.stderr, log), daemon=True)
        drained.start()
        cancel.watch(process)
        try:
            yield Connector(process, log)
        finally:
            cancel.watch(None)
            end(process)
            drained.join(GRACE_S)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


class Connector:
    """A running connector."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Log) -> None:
        self.process, self._log = process, log

    def messages(self) -> Iterator[tuple[Message, int]]:
        """Messages with their sizes until the connector closes its output; other lines go to the log."""
        assert self.process.stdout is not None  # noqa: S101  it was opened with a pipe
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if isinstance(message, dict) and "type" in message:
                yield message, len(line)
            elif line.strip():
                self._log(f"stdout: {line.decode(errors='replace').rstrip()}")

    def exit_code(self) -> int:
        """Wait for the end; negative is the signal that ended it."""
        return self.process.wait()


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a connector and all that it started: SIGTERM, and SIGKILL when it lingers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)


def _drain(stream: IO[bytes], log: Log) -> None:
    """Read stderr all the while, else a talkative connector would stand still."""
    for line in stream:
        log(f"stderr: {line.decode(errors='replace').rstrip()}")


def _private(file: Path, content: Any) -> Path:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(content, stream)
    return file
