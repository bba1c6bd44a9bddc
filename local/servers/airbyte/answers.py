"""Reads JSON bodies of the API's requests, and writes its pages and errors."""

import json
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Json = dict[str, Any]
KINDS = {
    400: "bad-request",
    401: "unauthorized",
    404: "resource-not-found",
    405: "method-not-allowed",
    409: "state-conflict",
    422: "unprocessable",
}


class RequestRejected(Exception):
    """The request is rejected; `status` and message are the answer."""

    def __init__(self, status: int, detail: str, kind: str = "") -> None:
        super().__init__(detail)
        self.status, self.kind = status, kind or KINDS[status]


async def answer_error(_: Request, error: Exception) -> Response:
    """Return the API's answer to a rejected request."""
    if isinstance(error, HTTPException):
        error = RequestRejected(error.status_code, error.detail, KINDS.get(error.status_code, "http"))
    assert isinstance(error, RequestRejected)  # noqa: S101  the application sends only these two here
    body = {"status": error.status, "type": f"error:{error.kind}", "title": error.kind, "detail": str(error)}
    return JSONResponse(body, error.status)


async def body_of(request: Request) -> Json:
    """Return the request's JSON object.

    Raises:
        RequestRejected: the body is not a JSON object that can be sent back.
    """
    try:
        body = json.loads(await request.body())
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RequestRejected(400, f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestRejected(400, f"the body is a JSON {type(body).__name__}, not an object")
    return body


def text_of(body: Json, field: str) -> str:
    """Return a field that must be a string.

    Raises:
        RequestRejected: the field is missing or not a string.
    """
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise RequestRejected(400, f"{field} is missing or not a string")
    return value


def instant_of(request: Request, field: str) -> datetime:
    """An instant in the query; the beginning of time when it is not given.

    Raises:
        RequestRejected: the value is not an instant.
    """
    value = request.query_params.get(field, "0001-01-01T00:00:00Z").replace(" ", "+")
    try:
        return as_instant(value)
    except ValueError:
        raise RequestRejected(400, f"{field}={value} is not an instant like 2026-01-31T12:00:00Z") from None


def as_instant(value: str) -> datetime:
    """An ISO text as an instant; UTC when it names no zone."""
    instant = datetime.fromisoformat(value)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def listing(request: Request, items: list[Json]) -> Response:
    """One page of a list."""
    limit, offset = _number(request, "limit", 20), _number(request, "offset", 0)
    return JSONResponse({"data": items[offset : offset + limit], "previous": "", "next": ""})


def _number(request: Request, field: str, default: int) -> int:
    value = request.query_params.get(field, str(default))
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise RequestRejected(400, f"{field}={value} is not a whole number from 0")
    return int(value)
