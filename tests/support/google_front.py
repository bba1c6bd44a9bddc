"""A front of a server, for HTTP and for gRPC: answers some calls itself, as a test says, and hands the others on."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, urlsplit

import grpc

from tests.support.google_api import Call, Json
from tests.support.http_server import QuietHandler, serving
from tests.support.servers import free_port

HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "date", "server", "keep-alive"}
Answer = Callable[[Call], tuple[int, Json] | None]
RpcAnswer = Callable[[str, bytes], bytes | None]


class RpcRefusal(Exception):
    """A gRPC call is answered with this status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Front:
    """The calls that came, as verb and path or as gRPC method."""

    address: str
    calls: list[str] = field(default_factory=list)


@contextmanager
def http_front(answer: Answer, upstream: str = "") -> Iterator[Front]:
    """A front of an HTTP server; without one a call that `answer` leaves is answered with 404."""
    front = Front("")

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            url = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            front.calls.append(f"{self.command} {url.path}")
            body = parsed(raw) if "json" in (self.headers.get("Content-Type") or "") else {}
            own = answer(Call(self.command, url.path, parse_qs(url.query), body, self.headers.get("Authorization", "")))
            if own is None and upstream:
                self._hand_on(raw)
                return
            status, answered = own or (404, error(404, "notFound", f"{self.command} {url.path} is not known here"))
            self._end(status, json.dumps(answered).encode(), [("Content-Type", "application/json")])

        def _hand_on(self, raw: bytes) -> None:
            """Send the request to the server behind; not by `requests`, which the kit guards in this process."""
            connection = HTTPConnection(urlsplit(upstream).netloc, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length")}
            connection.request(self.command, self.path, raw, headers | {"Content-Length": str(len(raw))})
            got = connection.getresponse()
            passed = [(k, v) for k, v in got.getheaders() if k.lower() not in HOP or self.command == "HEAD"]
            data = got.read().replace(upstream.encode(), front.address.encode())
            self._end(got.status, data, [(k, v.replace(upstream, front.address)) for k, v in passed])
            connection.close()

        def _end(self, status: int, data: bytes, headers: list[tuple[str, str]]) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name, _ in headers):
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    for verb in HTTP_METHODS:
        setattr(Handler, f"do_{verb}", Handler._serve)
    with serving(Handler) as front.address:
        yield front


def parsed(raw: bytes) -> Json:
    """Return a body's JSON object, an empty one for anything else."""
    try:
        value = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def error(code: int, reason: str, message: str) -> Json:
    """Return an error as Google's REST APIs word it."""
    return {"error": {"code": code, "message": message, "errors": [{"reason": reason, "message": message}]}}


@contextmanager
def grpc_front(answer: RpcAnswer, upstream: str) -> Iterator[Front]:
    """A front of a gRPC server; `answer` gets method and request, returns an answer or None, or raises RpcRefusal."""
    port = free_port()
    front, channel = Front(f"127.0.0.1:{port}"), grpc.insecure_channel(upstream)

    def unary(method: str) -> Any:
        def call(request: bytes, context: Any) -> bytes:
            front.calls.append(method)
            try:
                own = answer(method, request)
                return own if own is not None else channel.unary_unary(method)(request, timeout=60)
            except RpcRefusal as refusal:
                context.abort(grpc.StatusCode[refusal.code], str(refusal))
            except grpc.RpcError as failed:
                context.set_trailing_metadata(failed.trailing_metadata() or ())
                context.abort(failed.code(), failed.details())
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(call)

    def stream(method: str) -> Any:
        def call(requests_: Iterator[bytes], context: Any) -> Iterator[bytes]:
            front.calls.append(method)
            answers = channel.stream_stream(method)(requests_)
            context.add_callback(answers.cancel)
            try:
                yield from answers
            except grpc.RpcError as failed:
                context.abort(failed.code(), failed.details())

        return grpc.stream_stream_rpc_method_handler(call)

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return (stream if details.method.endswith("StreamingPull") else unary)(details.method)

    server = grpc.server(ThreadPoolExecutor(32), handlers=(Handler(),))
    server.add_insecure_port(front.address)
    server.start()
    try:
        yield front
    finally:
        server.stop(0.2).wait()
        channel.close()
