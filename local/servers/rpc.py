"""gRPC for the local servers: plain asynchronous methods in, a served service out."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio

from local.servers.serving import bound

Proto = Any  # raw protobuf messages and classes have no type stubs here
T = TypeVar("T")

DEFAULT_PAGE = 100
SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else a second server would share the port silently and take half the calls
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # official clients ping more often than the default allows
    ("grpc.keepalive_permit_without_calls", 1),
)


class Refused(Exception):
    """A call that is answered with a status other than OK."""

    def __init__(self, code: str, message: str, trailers: Sequence[tuple[str, bytes]] = ()) -> None:
        super().__init__(message)
        self.code, self.trailers = code, tuple(trailers)


@dataclass(frozen=True)
class Method:
    """A method that takes one request and gives one answer."""

    request: Proto
    response: Proto
    call: Callable[[Proto], Coroutine[Any, Any, Proto]]

    def handler(self) -> Any:
        """What gRPC registers."""

        async def answer(request: Proto, context: Any) -> Proto:
            try:
                return await self.call(request)
            except Refused as refused:
                await abort(context, refused)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=self.request.FromString, response_serializer=self.response.SerializeToString
        )


async def abort(context: Any, refused: Refused) -> None:
    """Answer a call with the status of a refusal."""
    await context.abort(grpc.StatusCode[refused.code], str(refused), refused.trailers)


async def start_server(port: int, services: Mapping[str, Mapping[str, Any]]) -> Any:
    """Start serving handlers, by service and method, on 127.0.0.1.

    Raises:
        SystemExit: the port is taken.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS)
    handlers = [grpc.method_handlers_generic_handler(name, dict(methods)) for name, methods in services.items()]
    server.add_generic_rpc_handlers(tuple(handlers))
    bound(port).close()  # gRPC binds by itself, but says in many words that it could not
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


def page(names: Iterable[str], size: int, token: str) -> tuple[list[str], str]:
    """One page of sorted names after `token`, and the token of the next ('' at the end)."""
    rest = sorted(name for name in names if name > token)
    wanted = size or DEFAULT_PAGE
    return rest[:wanted], rest[wanted - 1] if len(rest) > wanted else ""


def project_page(kept: Mapping[str, Proto], request: Proto) -> tuple[list[Proto], str]:
    """One page of what a project has, for a request that names the project, and the token of the next."""
    mine = [name for name in kept if name.startswith(f"{request.project}/")]
    names, token = page(mine, request.page_size, request.page_token)
    return [kept[name] for name in names], token
