"""A gRPC call in; PERMISSION_DENIED, in the service's words, for a bearer that lacks the method's permissions, out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from local.servers.rights.policy import Denial, Policy, Required, bearer_email, first_denied

Proto = Any  # raw protobuf messages have no type stubs
Requires = Callable[[Proto], list[Required]]


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # no type stubs
    """Checks every call against the permissions of its method, by full name; other methods are rejected."""

    def __init__(self, policy: Policy, methods: Mapping[str, Requires], says: Callable[[Denial], str]) -> None:
        self._policy, self._methods, self._says = policy, methods, says

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """Return the method's handler with the check before it."""
        handler = await continuation(details)
        if handler is None:
            return None
        requires = self._methods[details.method.rpartition("/")[2]]
        kinds = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }

        async def answer(request: Proto, context: Any) -> Proto:
            await self._check(requires(request), context)
            return await handler.unary_unary(request, context)

        async def stream(requests: AsyncIterator[Proto], context: Any) -> AsyncIterator[Proto]:
            first = await anext(requests)
            await self._check(requires(first), context)
            async for response in handler.stream_stream(_chained(first, requests), context):
                yield response

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, **kinds)
        return grpc.unary_unary_rpc_method_handler(answer, **kinds)

    async def _check(self, required: list[Required], context: Any) -> None:
        metadata = {
            str(key): str(value) for key, value in context.invocation_metadata() or () if key == "authorization"
        }
        try:
            email = bearer_email(metadata.get("authorization", ""))
        except ValueError as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
            raise
        if not email:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "Request is missing required authentication credential."
            )
        if denial := first_denied(self._policy, email, required):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, self._says(denial))


async def _chained(first: Proto, rest: AsyncIterator[Proto]) -> AsyncIterator[Proto]:
    yield first
    async for request in rest:
        yield request


def on(field: str, permission: str) -> Requires:
    """Return the rule of a method that needs a permission on the resource in a field of its request."""
    return lambda request: [(permission, value_of(request, field))]


def in_project(field: str, permission: str) -> Requires:
    """Return the rule of a method that needs a permission on the project of the resource in a field."""
    return lambda request: [(permission, project_of(value_of(request, field)))]


def project_of(name: str) -> str:
    """Return the project of a full name."""
    return "/".join(name.split("/")[:2])


def value_of(request: Proto, field: str) -> str:
    """Return the value of a field by its path."""
    for part in field.split("."):
        request = getattr(request, part)
    return str(request)
