"""Holds the imported libraries and forks on request: `python -m millrace.worker --socket PATH`.

The process imports the libraries once and has a child, the fork server, which imports the flows' modules and forks a
process per command. When the code of the platform has changed, or on SIGHUP, the next command is forked from a new
child; the old one ends with the last command that it forked.
"""

import argparse
import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from millrace.worker.child import end_with_parent
from millrace.worker.preload import code_changed, code_stamp, import_flows, import_libraries, threads
from millrace.worker.server import ForkServer

POLL_S = 1.0


class Generations:
    """The children that fork commands: one takes new commands, older ones await the end of theirs."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._servers: set[int] = set()
        self._newest = 0
        self._ending = False
        self._retired, self._retire = os.pipe()
        for end in (self._retired, self._retire):
            os.set_blocking(end, False)

    def serve(self, parent: int | None) -> None:
        """Keep a fork server until SIGTERM, or until the parent process has ended."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGHUP, lambda *_: self._signal(self._newest, signal.SIGHUP))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._start()
        signal.set_wakeup_fd(self._retire, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while not self._ending and (parent is None or os.getppid() == parent):
            self._await_news()
            self._reap()
        for server in self._servers:
            self._signal(server, signal.SIGTERM)
        while self._servers:
            self._reap()
            time.sleep(0.02)

    def _end(self, *_: object) -> None:
        self._ending = True

    def _await_news(self) -> None:
        """Wait for a server that retires, a signal or the next look at the parent."""
        select.select([self._retired], [], [], POLL_S)
        with contextlib.suppress(BlockingIOError):
            if b"R" in os.read(self._retired, 4096):
                self._start()

    def _reap(self) -> None:
        while self._servers:
            server, _ = os.waitpid(-1, os.WNOHANG)
            if server == 0:
                return
            self._servers.discard(server)
            if server == self._newest and not self._ending:
                self._start()

    def _start(self) -> None:
        parent = os.getpid()
        server = os.fork()
        if server == 0:
            self._serve_generation(parent)
        self._servers.add(server)
        self._newest = server

    def _serve_generation(self, parent: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        import_flows()
        stamp = code_stamp()
        print(f"millrace.worker ready, {threads()} thread(s)", file=sys.stderr, flush=True)
        ForkServer(self._listener, lambda: code_changed(stamp), self._announce_retirement).serve()
        os._exit(0)

    def _announce_retirement(self) -> None:
        os.write(self._retire, b"R")

    @staticmethod
    def _signal(process: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def main() -> None:
    """Import the libraries, then serve."""
    parser = argparse.ArgumentParser(prog="python -m millrace.worker", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket")
    parser.add_argument("--parent", type=int, help="end when the process with this id ends")
    options = parser.parse_args()
    if options.parent:
        end_with_parent()  # also during the imports
    import_libraries()
    Generations(options.socket).serve(options.parent)


if __name__ == "__main__":
    main()
