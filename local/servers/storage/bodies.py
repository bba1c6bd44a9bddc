"""Bodies of requests and answers: JSON in, chunks and ranges of files out."""

import json
from collections.abc import Iterator
from typing import BinaryIO

from starlette.requests import Request

from local.servers.storage.rules import Json, StorageError

CHUNK = 1 << 20


async def json_of(request: Request) -> Json:
    """The object that a request's body is; without a body an empty one."""
    try:
        value = json.loads(await request.body() or b"{}")
    except ValueError:
        raise StorageError(400, "parseError", "the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise StorageError(400, "parseError", "the body is not a JSON object")
    return value


def chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The next bytes of a file, which is closed in the end."""
    with file:
        while data := file.read(min(size, CHUNK)):
            size -= len(data)
            yield data


def span(header: str, size: int) -> tuple[int, int]:
    """First and last byte of a Range header. Raises 416 when it lies outside."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if begin >= size or end < begin:
        raise StorageError(416, "requestedRangeNotSatisfiable", f"{header} of {size} bytes")
    return begin, end
