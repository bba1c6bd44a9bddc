"""Several calls of the JSON API in one multipart/mixed request."""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from local.servers.storage.rules import StorageError

MOST_CALLS = 100  # https://cloud.google.com/storage/docs/batch
Answer = Callable[[Request], Awaitable[Response]]


async def answer_batch(request: Request, answer: Answer) -> Response:
    """Return the answers of all calls, in their order; a rejected call does not stop the others."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if not boundary:
        raise StorageError(400, "invalid", "a batch needs a boundary")
    chunks = (await request.body()).split(b"--" + boundary[1].encode())[1:-1]
    if len(chunks) > MOST_CALLS:
        raise StorageError(400, "invalid", f"a batch has at most {MOST_CALLS} calls, not {len(chunks)}")
    bearer = request.headers.get("authorization", "")
    parts = [await _part(chunk.decode(), answer, bearer) for chunk in chunks]
    text = "".join(f"--batch\r\n{part}\r\n" for part in parts) + "--batch--"
    return Response(text, media_type="multipart/mixed; boundary=batch")


async def _part(chunk: str, answer: Answer, bearer: str) -> str:
    outer, _, call = chunk.replace("\r\n", "\n").lstrip("\n").partition("\n\n")
    line, _, rest = call.partition("\n")
    headers, _, body = rest.partition("\n\n") if not rest.startswith("\n") else ("", "", rest)
    parsed = re.fullmatch(r"([A-Z]+) (\S+)(?: HTTP/1\.1)?", line.strip())
    if not parsed:
        raise StorageError(400, "invalid", f"{line[:80]!r} in a batch is not a call")
    if bearer and "authorization:" not in headers.lower():
        headers = f"authorization: {bearer}\n{headers}"
    answered = await answer(_request(parsed[1], parsed[2], headers, body.strip().encode()))
    if isinstance(answered, StreamingResponse):
        raise StorageError(400, "invalid", "a batch can't upload or download")
    content = bytes(answered.body).decode()
    head = f"HTTP/1.1 {answered.status_code} {HTTPStatus(answered.status_code).phrase}"
    named = re.search(r"^content-id: *<?([^>\n]+)", outer, re.IGNORECASE | re.MULTILINE)
    identity = f"Content-ID: <response-{named[1]}>\r\n" if named else ""
    return (
        f"Content-Type: application/http\r\n{identity}\r\n{head}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content.encode())}\r\n\r\n{content}"
    )


def _request(method: str, url: str, headers: str, body: bytes) -> Request:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    path, _, query = re.sub(r"^https?://[^/]+", "", url).partition("?")
    pairs = [line.partition(":") for line in headers.splitlines() if ":" in line]
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "headers": [(name.strip().lower().encode(), value.strip().encode()) for name, _, value in pairs],
        "query_string": query.encode(),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }
    return Request(scope, receive)
