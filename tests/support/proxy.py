"""A reverse proxy between a client and a server; it rejects requests that a test chooses, as a broken server would."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
HEAD = 1000  # an upload names its object in its body
LOSS = b'{"detail": "the answer was lost"}'
REFUSAL = b'{"error": {"code": 403, "message": "refused by the test"}, "detail": "refused by the test"}'


class Proxy:
    """Forwards to `port` of 127.0.0.1; `refusing` names the requests to refuse."""

    def __init__(self, port: int) -> None:
        self.target, self.refused, self.refusal = port, 0, (403, REFUSAL)
        self._rule: re.Pattern[str] | None = None
        self._losing: re.Pattern[str] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def refusing(self, pattern: str) -> Iterator[None]:
        """Answer 403 to requests whose `METHOD path?query head-of-body` the pattern finds."""
        self._rule, self.refused = re.compile(pattern), 0
        try:
            yield
        finally:
            self._rule = None

    @contextmanager
    def losing(self, pattern: str) -> Iterator[None]:
        """Forward such requests but answer 504: they take effect, and the client does not know it."""
        self._losing = re.compile(pattern)
        try:
            yield
        finally:
            self._losing = None

    def loses(self, line: str) -> bool:
        return self._losing is not None and self._losing.search(line) is not None

    def refuses(self, line: str) -> bool:
        if not self._rule or not self._rule.search(line):
            return False
        self.refused += 1
        return True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self._body()
            if proxy.refuses(f"{self.command} {self.path} {body[:HEAD]!r}"):
                status, reason = proxy.refusal
                return self._answer(status, [("Content-Type", "application/json")], reason)
            upstream = http.client.HTTPConnection("127.0.0.1", proxy.target, timeout=60)
            try:
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                data = answer.read()
            finally:
                upstream.close()
            if proxy.loses(f"{self.command} {self.path} {body[:HEAD]!r}"):
                return self._answer(504, [("Content-Type", "application/json")], LOSS)
            self._answer(answer.status, answer.getheaders(), data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = forward

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    return Handler
