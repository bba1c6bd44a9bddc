"""A Google REST API on a port of this machine: JSON in, JSON out, answered by a test's own object."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlparse

from tests.support.http_server import QuietHandler, serving

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request; `body` is empty for content other than JSON."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Json
    authorization: str


@contextmanager
def listening(port: int, answer: Callable[[Call], tuple[int, Json]]) -> Iterator[None]:
    """A server that is gone at the end."""
    with serving(_handler(answer), port):
        yield


def _handler(answer: Callable[[Call], tuple[int, Json]]) -> type[QuietHandler]:
    class Handler(QuietHandler):
        def _serve(self) -> None:
            url = urlparse(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_json = "json" in (self.headers.get("Content-Type") or "")
            body = json.loads(raw) if raw and is_json else {}
            call = Call(self.command, url.path, parse_qs(url.query), body, self.headers.get("Authorization", ""))
            status, answered = answer(call)
            data = json.dumps(answered).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

    return Handler
