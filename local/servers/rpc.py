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


class RpcError(Exception):
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
        """Return the handler that gRPC registers."""

        async def answer(request: Proto, context: Any) -> Proto:
            try:
                return await self.call(request)
            except RpcError as error:
                await abort(context, error)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=self.request.FromString, response_serializer=self.response.SerializeToString
        )


async def abort(context: Any, error: RpcError) -> None:
    """Abort a call with the status of an error."""
    await context.abort(grpc.StatusCode[error.code], str(error), error.trailers)


async def start_server(port: int, services: Mapping[str, Mapping[str, Any]], guards: Sequence[Any] = ()) -> Any:
    """Start serving handlers, by service and method, on 127.0.0.1; `guards` may reject calls before.

    Raises:
        SystemExit: the port is taken.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=guards)
    handlers = [grpc.method_handlers_generic_handler(name, dict(methods)) for name, methods in services.items()]
    server.add_generic_rpc_handlers(tuple(handlers))
    bound(port).close()  # gRPC binds too, but its error for a taken port is hard to read
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


def page(names: Iterable[str], size: int, token: str) -> tuple[list[str], str]:
    """Return one page of sorted names after `token`, and the token of the next ('' at the end)."""
    rest = sorted(name for name in names if name > token)
    limit = size or DEFAULT_PAGE
    return rest[:limit], rest[limit - 1] if len(rest) > limit else ""


def project_page(resources: Mapping[str, Proto], request: Proto) -> tuple[list[Proto], str]:
    """Return one page of the resources of the request's project, and the token of the next page."""
    mine = [name for name in resources if name.startswith(f"{request.project}/")]
    names, token = page(mine, request.page_size, request.page_token)
    return [resources[name] for name in names], token
