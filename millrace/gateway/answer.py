"""A request in; its body within limits, one log line of the outcome, and the HTTP status, out."""

import math
import time
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from millrace.domain.errors import AccessDenied, EventRefused, ServiceUnavailable, SettingsError
from millrace.gateway.logs import log_event
from millrace.gateway.verify import Unauthorised

MAX_BODY_BYTES = 1 << 20
Fields = dict[str, object]
Take = Callable[[Request, Fields], Awaitable[str]]


class TooLarge(Exception):
    """The body is over the limit."""


async def answer(request: Request, fields: Fields, take: Take, pause_s: Callable[[], float]) -> Response:
    """Return 204 when `take` accepts the message, else the status of its error; log the outcome.

    `take` adds `fields` to the log line and returns its event; `pause_s` gives the `Retry-After` of a 503.
    """
    began, headers = time.monotonic(), {}
    event, status, reason = await _outcome(request, fields, take)
    if status == 503:
        headers["Retry-After"] = str(max(1, math.ceil(pause_s())))
    if status == 401:
        fields["remote"] = request.client.host if request.client else ""
    if reason:
        fields["why"] = reason
    log_event(event, **fields, status=status, ms=round((time.monotonic() - began) * 1000))
    return Response(status_code=status, headers=headers)


async def _outcome(request: Request, fields: Fields, take: Take) -> tuple[str, int, str]:
    try:
        return await take(request, fields), 204, ""
    except Unauthorised as error:
        return "gateway.unauthenticated", 401, str(error)
    except TooLarge:
        return "gateway.refused", 413, f"the body is over {MAX_BODY_BYTES} bytes"
    except EventRefused as error:
        return "gateway.refused", 400, str(error)
    except (AccessDenied, ServiceUnavailable, SettingsError) as error:
        return "gateway.unavailable", 503, str(error)
    except ClientDisconnect:
        return "gateway.unavailable", 503, "the caller closed the connection"


async def read_body(request: Request) -> bytes:
    """Return the body; raise TooLarge over the limit, whatever length the header claims."""
    claimed = request.headers.get("content-length", "0")
    if claimed.isdecimal() and int(claimed) > MAX_BODY_BYTES:
        raise TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
    return bytes(body)
