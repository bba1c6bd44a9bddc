"""The gateway's endpoints: `POST /push/<topic>`, `/healthz` and `/readyz`."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from contracts.errors import EventRefused, ServiceUnavailable
from gateway.logs import tell
from gateway.message import parse_push
from gateway.outbox import Outbox
from gateway.prefect_events import PrefectEvents
from gateway.translate import translate
from gateway.verify import Certificates, Unauthorised, Verifier

MAX_BODY_BYTES = 1 << 20
READY_FOR_S = 2.0
Fields = dict[str, object]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


class Pushes:
    """Takes pushes: answers 204 only after Prefect has the event, so that Pub/Sub keeps whatever it has not."""

    def __init__(self, verifier: Verifier, outbox: Outbox) -> None:
        self._verifier, self._outbox = verifier, outbox

    async def push(self, request: Request) -> Response:
        """One message of one topic."""
        began, headers = time.monotonic(), {}
        fields: Fields = {"topic": request.path_params["topic"]}
        event, status, why = await self._answer(request, fields)
        if status == 503:
            headers["Retry-After"] = str(max(1, math.ceil(self._outbox.pause_s)))
        if status == 401:
            fields["remote"] = request.client.host if request.client else ""
        if why:
            fields["why"] = why
        tell(event, **fields, status=status, ms=round((time.monotonic() - began) * 1000))
        return Response(status_code=status, headers=headers)

    async def _answer(self, request: Request, fields: Fields) -> tuple[str, int, str]:
        try:
            return await self._take(request, fields), 204, ""
        except Unauthorised as error:
            return "gateway.unauthenticated", 401, str(error)
        except TooLarge:
            return "gateway.refused", 413, f"the body is over {MAX_BODY_BYTES} bytes"
        except EventRefused as error:
            return "gateway.refused", 400, str(error)
        except ServiceUnavailable as error:
            return "gateway.unavailable", 503, str(error)
        except ClientDisconnect:
            return "gateway.unavailable", 503, "the caller hung up"

    async def _take(self, request: Request, fields: Fields) -> str:
        await self._verifier.verify(request.headers.get("authorization", ""))
        message = parse_push(request.headers, await read_body(request))
        fields |= {"message_id": message.message_id, "attempt": message.attempt}
        event = translate(str(fields["topic"]), message)
        if event is None:
            return "gateway.ignored"
        fields |= {"name": event.name, "resource": event.resource["prefect.resource.id"]}
        await self._outbox.hand_over(event)
        return "gateway.accepted"


class TooLarge(Exception):
    """A body over the limit."""


async def read_body(request: Request) -> bytes:
    """The body, up to the limit: a length that a caller claims, or leaves out, proves nothing."""
    claimed = request.headers.get("content-length", "0")
    if claimed.isdecimal() and int(claimed) > MAX_BODY_BYTES:
        raise TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
    return bytes(body)


class Health:
    """Tells whether the process answers, and whether messages can be taken."""

    def __init__(self, prefect: PrefectEvents, certificates: Certificates | None) -> None:
        self._prefect, self._certificates = prefect, certificates
        self._asking = asyncio.Lock()
        self._asked, self._missing = float("-inf"), ""

    async def alive(self, _: Request) -> Response:
        """Whether the process answers."""
        return PlainTextResponse("ok")

    async def ready(self, _: Request) -> Response:
        """Whether certificates are at hand and Prefect answers; asked at most once in `READY_FOR_S`."""
        async with self._asking:
            if time.monotonic() - self._asked > READY_FOR_S:
                self._missing, self._asked = await self._look(), time.monotonic()
        return PlainTextResponse(self._missing or "ok", 503 if self._missing else 200)

    async def _look(self) -> str:
        try:
            if self._certificates:
                await self._certificates.by_key()
        except ServiceUnavailable as error:
            return str(error)
        return "" if await self._prefect.healthy() else "no Prefect"


def web(health: Health, pushes: Pushes | None, lifespan: Lifespan) -> Starlette:
    """The application; without `pushes` it only tells how it is."""
    routes = [Route("/healthz", health.alive), Route("/readyz", health.ready)]
    if pushes:
        routes.append(Route("/push/{topic}", pushes.push, methods=["POST"]))
    return Starlette(routes=routes, lifespan=lifespan)


@asynccontextmanager
async def running(outbox: Outbox) -> AsyncIterator[None]:
    """Events are sent to Prefect meanwhile."""
    sending = asyncio.create_task(outbox.run())
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
