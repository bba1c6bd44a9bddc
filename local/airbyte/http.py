"""What the endpoints share: JSON bodies, pages and refusals."""

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.airbyte.store import Body
from local.airbyte.wrong import Wrong

MAX_BODY = 4 * 1024 * 1024
DEFAULT_LIMIT = 20

Endpoint = Callable[[Request], Awaitable[Response]]


def answered(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with refusals as the API words them."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Wrong as wrong:
            body = {"status": wrong.status, "type": "error", "title": str(wrong), "detail": str(wrong)}
            return JSONResponse(body, status_code=wrong.status)

    return answer


async def body_of(request: Request) -> Body:
    """The request's JSON object."""
    raw = await request.body()
    if len(raw) > MAX_BODY:
        raise Wrong(413, f"a body has at most {MAX_BODY} bytes")
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise Wrong(400, f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise Wrong(400, "the body must be a JSON object")
    return body


def listed(request: Request, items: list[Body]) -> Response:
    """One page of items."""
    limit, offset = paging(request)
    return JSONResponse({"data": items[offset : offset + limit], "previous": "", "next": ""})


def paging(request: Request) -> tuple[int, int]:
    """Limit and offset of a request, 1 to 100 and 0 on."""
    found = []
    for name, default, lowest, highest in (("limit", DEFAULT_LIMIT, 1, 100), ("offset", 0, 0, 2**31)):
        value = request.query_params.get(name, str(default))
        if not value.isdecimal() or not lowest <= int(value) <= highest:
            raise Wrong(400, f"{name} must be a number from {lowest} to {highest}, not {value!r}")
        found.append(int(value))
    return found[0], found[1]
