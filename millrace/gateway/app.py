"""The gateway's endpoints: `POST /push/<topic>`, `POST /airbyte/<token>`, `/healthz` and `/readyz`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from millrace.domain.errors import ServiceUnavailable
from millrace.events.translate import translate
from millrace.gateway.answer import Fields, answer, read_body
from millrace.gateway.landings import Landings
from millrace.gateway.outbox import Outbox
from millrace.gateway.push_request import parse_push
from millrace.gateway.verify import Certificates, Verifier
from millrace.gateway.webhook import Webhook

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


class Pushes:
    """The endpoint for pushes; it answers 204 only for an event that is not lost, as Pub/Sub repeats the others.

    That is: Prefect's database has the event, or Prefect has it and `reconcile` would find its work without it.
    """

    def __init__(self, verifier: Verifier, events: Landings) -> None:
        self._verifier, self._events = verifier, events

    async def push(self, request: Request) -> Response:
        """Handle one message of one topic."""
        return await answer(request, {"topic": request.path_params["topic"]}, self._take, lambda: self._events.pause_s)

    async def _take(self, request: Request, fields: Fields) -> str:
        await self._verifier.verify(request.headers.get("authorization", ""))
        message = parse_push(request.headers, await read_body(request))
        fields |= {"message_id": message.message_id, "attempt": message.attempt}
        event = translate(str(fields["topic"]), message)
        if event is None:
            return "gateway.ignored"
        fields |= {"name": event.name, "resource": event.resource["prefect.resource.id"]}
        fields["event_id"] = (await self._events.hand_over(event)).id
        return "gateway.accepted"


STACK_HEADER = "millrace-stack"


class Health:
    """The endpoints for liveness and readiness.

    Neither asks Prefect: while it is down, a gateway answers pushes with 503 and `Retry-After`, and takes Airbyte's
    notifications, which come once and need only Pub/Sub.
    """

    def __init__(self, certificates: Certificates | None, stack: str = "") -> None:
        self._certificates, self._stack = certificates, stack

    async def alive(self, _: Request) -> Response:
        """Answer 200 while the process answers at all, with the stack that the gateway belongs to."""
        return PlainTextResponse("ok", headers={STACK_HEADER: self._stack} if self._stack else None)

    async def ready(self, _: Request) -> Response:
        """Answer 200 when the certificates of callers are available."""
        try:
            if self._certificates:
                await self._certificates.by_key()
        except ServiceUnavailable as error:
            return PlainTextResponse(str(error), 503)
        return PlainTextResponse("ok")


def build_app(health: Health, pushes: Pushes | None, webhook: Webhook | None, lifespan: Lifespan) -> Starlette:
    """Return the application; without `pushes` and `webhook` it serves only liveness and readiness."""
    routes = [Route("/healthz", health.alive), Route("/readyz", health.ready)]
    if pushes:
        routes.append(Route("/push/{topic}", pushes.push, methods=["POST"]))
    if webhook:
        routes.append(Route("/airbyte/{token}", webhook.post, methods=["POST"]))
    return Starlette(routes=routes, lifespan=lifespan)


@asynccontextmanager
async def send_events(outbox: Outbox) -> AsyncIterator[None]:
    """Send events to Prefect while the context is open."""
    sending = asyncio.create_task(outbox.run())
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
