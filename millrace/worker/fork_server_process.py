"""Starts and ends the fork server of one worker."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from millrace.worker.names import SOCKET

START_S = 240.0


class ForkServerProcess:
    """The fork server of one worker, a child of it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="millrace-warm-")
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it unless it runs, and have runs use it; one that begins meanwhile is not forked.

        Raises:
            RuntimeError: it did not come up.
        """
        if self._process and self._process.poll() is None:
            return
        path = Path(self._folder.name) / "socket"
        command = [sys.executable, "-m", "millrace.worker", "--socket", str(path), "--parent", str(os.getpid())]
        path.unlink(missing_ok=True)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  our own command
        deadline = time.monotonic() + START_S
        while not path.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the fork server did not come up in {START_S:.0f} s; its output is the worker's")
            await asyncio.sleep(0.05)
        os.environ[SOCKET] = str(path)

    def stop(self) -> None:
        """End it, and with it the runs that it still has."""
        if self._process:
            self._process.terminate()
            self._process.wait()
        self._folder.cleanup()
