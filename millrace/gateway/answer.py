"""A request's body in, within limits; a line of the log and a status out, whatever the message came to."""

import math
import time
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from millrace.domain.errors import EventRefused, ServiceUnavailable, SettingsError
from millrace.gateway.logs import tell
from millrace.gateway.verify import Unauthorised

MAX_BODY_BYTES = 1 << 20
Fields = dict[str, object]
Take = Callable[[Request, Fields], Awaitable[str]]


class TooLarge(Exception):
    """A body over the limit."""


async def answer(request: Request, fields: Fields, take: Take, pause_s: Callable[[], float]) -> Response:
    """204 when the message was taken; else why not, for the caller as a status and for the log in words.

    `take` adds to `fields` what it learns and returns the event to log; `pause_s` says when to come again after a 503.
    """
    began, headers = time.monotonic(), {}
    event, status, why = await _outcome(request, fields, take)
    if status == 503:
        headers["Retry-After"] = str(max(1, math.ceil(pause_s())))
    if status == 401:
        fields["remote"] = request.client.host if request.client else ""
    if why:
        fields["why"] = why
    tell(event, **fields, status=status, ms=round((time.monotonic() - began) * 1000))
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
    except (ServiceUnavailable, SettingsError) as error:
        return "gateway.unavailable", 503, str(error)
    except ClientDisconnect:
        return "gateway.unavailable", 503, "the caller hung up"


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
