"""The gateway's endpoints: `POST /push/<topic>`, `POST /airbyte/<token>`, `/healthz` and `/readyz`."""

import asyncio
import time
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
from millrace.gateway.prefect_events import PrefectEvents
from millrace.gateway.push_request import parse_push
from millrace.gateway.verify import Certificates, Verifier
from millrace.gateway.webhook import Webhook

READY_FOR_S = 2.0
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


class Pushes:
    """The endpoint for pushes; it answers 204 only after Prefect has the event, as Pub/Sub repeats other messages."""

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


class Health:
    """The endpoints for liveness and readiness."""

    def __init__(self, prefect: PrefectEvents, certificates: Certificates | None) -> None:
        self._prefect, self._certificates = prefect, certificates
        self._checking = asyncio.Lock()
        self._checked, self._missing = float("-inf"), ""

    async def alive(self, _: Request) -> Response:
        """Answer 200 while the process answers at all."""
        return PlainTextResponse("ok")

    async def ready(self, _: Request) -> Response:
        """Answer 200 when certificates are available and Prefect answers; check at most once in `READY_FOR_S`."""
        async with self._checking:
            if time.monotonic() - self._checked > READY_FOR_S:
                self._missing, self._checked = await self._check(), time.monotonic()
        return PlainTextResponse(self._missing or "ok", 503 if self._missing else 200)

    async def _check(self) -> str:
        try:
            if self._certificates:
                await self._certificates.by_key()
        except ServiceUnavailable as error:
            return str(error)
        return "" if await self._prefect.healthy() else "no Prefect"


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
