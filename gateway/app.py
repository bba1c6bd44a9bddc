"""The gateway's endpoints: `POST /push/<topic>`, `/health` and `/ready`."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from contracts import names
from contracts.errors import EventRefused, ServiceUnavailable
from gateway.prefect_events import PrefectEvents
from gateway.translate import parse_push, translate
from gateway.verify import Unauthorised, Verifier

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20


class Gateway:
    """Takes pushes: answers 204 only after Prefect has the event, so that Pub/Sub keeps whatever it has not."""

    def __init__(self, verifier: Verifier, events: PrefectEvents) -> None:
        self._verifier, self._events = verifier, events

    async def push(self, request: Request) -> Response:
        """One message of one topic."""
        began, topic = time.monotonic(), request.path_params["topic"]
        fields: dict[str, object] = {"topic": topic}
        try:
            event, status = await self._take(request, topic, fields)
        except Unauthorised as error:
            event, status, fields["why"] = "gateway.refused", 401, str(error)
        except TooLarge:
            event, status, fields["why"] = "gateway.refused", 413, f"the body is over {MAX_BODY_BYTES} bytes"
        except EventRefused as error:
            event, status, fields["why"] = "gateway.refused", 400, str(error)
        except ServiceUnavailable as error:
            event, status, fields["why"] = "gateway.unavailable", 503, str(error)
        except ClientDisconnect:
            event, status, fields["why"] = "gateway.refused", 400, "the caller hung up"
        fields |= {"status": status, "ms": round((time.monotonic() - began) * 1000)}
        level = logging.INFO if status < 300 else logging.WARNING
        log.log(level, event, extra={"event": event, "fields": fields})
        return Response(status_code=status)

    async def _take(self, request: Request, topic: str, fields: dict[str, object]) -> tuple[str, int]:
        await self._verifier.verify(request.headers.get("authorization", ""))
        if topic not in names.EVENT_OF_TOPIC:
            raise EventRefused(f"no topic {topic!r}; there are {', '.join(names.TOPICS)}")
        message = parse_push(await read_body(request))
        fields["message_id"] = message.message_id
        event = translate(topic, message)
        if event is None:
            return "gateway.ignored", 204
        fields |= {"name": event.name, "resource": event.resource["prefect.resource.id"]}
        await self._events.post(event)
        return "gateway.accepted", 204

    async def health(self, _: Request) -> Response:
        """Whether the process answers."""
        return PlainTextResponse("ok")

    async def ready(self, _: Request) -> Response:
        """Whether pushes can be taken: certificates and Prefect are there."""
        try:
            await self._verifier.certificates()
        except ServiceUnavailable as error:
            return PlainTextResponse(str(error), 503)
        return PlainTextResponse("ok") if await self._events.healthy() else PlainTextResponse("no Prefect", 503)


class TooLarge(Exception):
    """A body over the limit."""


async def read_body(request: Request) -> bytes:
    """The body, up to the limit: a length that a caller claims proves nothing."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
    return bytes(body)


def gateway_app(certs_url: str, audience: str, account: str, prefect_url: str, headers: dict[str, str]) -> Starlette:
    """The application."""
    http = httpx.AsyncClient(timeout=10)
    gateway = Gateway(Verifier(certs_url, audience, account, http), PrefectEvents(prefect_url, headers, http))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await http.aclose()

    routes = [
        Route("/push/{topic}", gateway.push, methods=["POST"]),
        Route("/health", gateway.health),
        Route("/ready", gateway.ready),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
