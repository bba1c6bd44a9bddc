"""Puts a guard between the official clients and the network: all HTTP and gRPC calls of this process pass it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import requests
from google.protobuf.message import Message

from tests.cloud.calls import Call, grpc_call, http_call
from tests.cloud.guard import Guard, dumps
from tests.cloud.stamp import stamp_message, stamped

# Where credentials come from: the metadata server, federated identities, impersonated accounts.
METADATA = (
    "http://metadata.google.internal/",
    "http://169.254.169.254/",
    "https://sts.googleapis.com/",
    "https://iamcredentials.googleapis.com/",
)
Answered = Callable[[Call, Any, Any], None]


@contextmanager
def guarded(guard: Guard, answered: Answered | None = None) -> Iterator[None]:
    """Let every call of this process pass a guard; `answered` gets each call with its request and its answer."""
    send, plain, secure = requests.Session.send, grpc.insecure_channel, grpc.secure_channel
    interceptor = Interceptor(guard, answered)

    def guarded_send(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> Any:
        call = described(guard, request)
        guard.admit(call)
        restamp(guard, call, request)
        answer = send(session, request, **options)
        if answered:
            answered(call, request, answer)
        return answer

    def intercepted(make: Callable[..., grpc.Channel]) -> Callable[..., grpc.Channel]:
        return lambda *arguments, **named: grpc.intercept_channel(make(*arguments, **named), interceptor)

    requests.Session.send = guarded_send  # type: ignore[assignment]
    grpc.insecure_channel, grpc.secure_channel = intercepted(plain), intercepted(secure)
    try:
        yield
    finally:
        requests.Session.send = send  # type: ignore[method-assign]
        grpc.insecure_channel, grpc.secure_channel = plain, secure


def described(guard: Guard, request: requests.PreparedRequest) -> Call:
    """Return the call that a prepared request is."""
    url, target = str(request.url), guard.target
    if url.startswith(METADATA):
        return Call("metadata")
    for name in ("token", "tokeninfo"):
        if url.split("?")[0] == f"{target.base('oauth2')}/{name}":
            return Call(f"oauth2.{name}")
    body = request.body
    return http_call(target, str(request.method), url, body if isinstance(body, bytes | str) else None)


def restamp(guard: Guard, call: Call, request: requests.PreparedRequest) -> None:
    """Give the resource that a request creates the run's label and expiry."""
    if not guard.run or not call.body or "multipart" in str(request.headers.get("content-type")):
        return
    body = stamped(call.method, call.body, guard.run, guard.target.location, guard.limits.query_bytes)
    if body != call.body:
        request.body = dumps(body)
        request.headers["Content-Length"] = str(len(request.body))


class Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):  # type: ignore[misc]  # untyped
    """The same for gRPC: single calls, and streams by their method."""

    def __init__(self, guard: Guard, answered: Answered | None) -> None:
        self._guard, self._answered = guard, answered

    def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
        """Admit and stamp a call."""
        message = message_of(request)
        call = grpc_call(details.method, message)
        self._guard.admit(call)
        if self._guard.run:
            stamp_message(call.method, message, self._guard.run)
        outcome = proceed(details, request)
        if self._answered:
            self._answered(call, message, outcome)
        return outcome

    def intercept_stream_stream(self, proceed: Any, details: Any, requests_: Any) -> Any:
        """Admit the requests of a stream as they are sent."""

        def admitted() -> Iterator[Any]:
            for request in requests_:
                call = grpc_call(details.method, message_of(request))
                if call.touched:  # later requests of a stream name nothing
                    self._guard.admit(call)
                    if self._answered:
                        self._answered(call, request, None)
                yield request

        return proceed(details, admitted())


def message_of(request: Any) -> Message:
    """Return the protobuf message of a request of either kind that Google's clients send."""
    return request if isinstance(request, Message) else type(request).pb(request)
