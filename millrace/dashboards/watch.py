"""Serves the dashboards of a project while they are written: a change of a file or of the marts draws them again.

The page asks every half second whether it is still the newest. Only this machine can open it.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from millrace.dashboards.draw import draw
from millrace.dashboards.page import DrawnChart
from millrace.warehouse.reader import Read

LOOK_S = 0.5
VERSION = "/version"
RELOAD = b"""<script>let shown = "";
setInterval(async () => {
  try {
    const now = await (await fetch("version")).text();
    if (shown && now !== shown) location.reload();
    shown = now;
  } catch { document.title = "stopped \xc2\xb7 Dashboards"; }
}, 500);</script></body>"""


class Watcher:
    """Draws into a folder whenever what it looks at has changed; `drawn` is called with the charts."""

    def __init__(
        self, read: Read, folder: Path, looked_at: Iterable[Path], drawn: Callable[[list[DrawnChart]], None]
    ) -> None:
        self._read, self.folder, self._looked_at, self._drawn = read, folder, tuple(looked_at), drawn
        self._state: tuple[object, ...] | None = None
        self.version = 0
        self._ended = threading.Event()

    def look(self) -> bool:
        """Draw if something has changed; return whether it has."""
        state = tuple(_state(self._looked_at))
        if state == self._state:
            return False
        self._drawn(draw(self._read, self.folder, datetime.now(UTC)))
        self._state = state
        self.version += 1
        return True

    def run(self) -> None:
        """Look until the end."""
        while not self._ended.wait(LOOK_S):
            self.look()

    def end(self) -> None:
        """End `run`."""
        self._ended.set()


def _state(paths: Iterable[Path]) -> Iterable[tuple[str, int, int]]:
    for path in paths:
        for file in sorted(path.glob("*.y*ml")) if path.is_dir() else [path]:
            try:
                found = file.stat()
            except OSError:
                continue  # it is being replaced
            yield str(file), found.st_mtime_ns, found.st_ino


class _Pages(SimpleHTTPRequestHandler):
    """The drawn files, the page with the script that reloads it, and the number of its version."""

    def __init__(self, *arguments: object, watcher: Watcher) -> None:
        self._watcher = watcher
        super().__init__(*arguments, directory=str(watcher.folder))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path == VERSION:
            return self._answer(str(self._watcher.version).encode(), "text/plain")
        if self.path.partition("?")[0] in ("/", "/index.html"):
            page = (self._watcher.folder / "index.html").read_bytes().replace(b"</body>", RELOAD)
            return self._answer(page, "text/html; charset=utf-8")
        super().do_GET()

    def end_headers(self) -> None:
        """Let no browser keep what may change."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing of requests."""

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def server(watcher: Watcher, port: int = 0) -> ThreadingHTTPServer:
    """Return the server of the watched pages on this machine's own address; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_Pages, watcher=watcher))
