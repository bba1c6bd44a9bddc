"""The three ways to upload an object."""

import json
import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.servers.storage.index import Index
from local.servers.storage.rules import Json, StorageError

CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$")


async def start_upload(index: Index, request: Request, bucket: str, base_url: str) -> Response:
    """Take a whole object, or begin a resumable upload."""
    query = dict(request.query_params)
    kind = query.get("uploadType", "media")
    data = await request.body()
    named: Json = {"name": query["name"]} if "name" in query else {}
    if kind == "resumable":
        body = named | json.loads(data or b"{}")
        body.setdefault("contentType", request.headers.get("x-upload-content-type"))
        upload = index.add_upload(bucket, body, query)
        location = f"{base_url}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload}"
        return Response(b"", 200, {"location": location, "x-guploader-uploadid": upload})
    if kind == "multipart":
        resource, content_type, data = split_multipart(request.headers.get("content-type", ""), data)
        body = {"contentType": content_type} | resource | named
    else:
        body = named | {"contentType": request.headers.get("content-type")}
    if not body.get("name"):
        raise StorageError(400, "required", "an object needs a name")
    return JSONResponse(index.put(bucket, body, data, query))


def split_multipart(content_type: str, body: bytes) -> tuple[Json, str, bytes]:
    """Resource, media type and bytes of a multipart/related body; line ends may be bare LF."""
    match = re.search(r'boundary="?([^";]+)', content_type)
    if not match:
        raise StorageError(400, "invalid", "multipart upload without a boundary")
    mark = b"--" + match[1].strip("'").encode()
    _, first, second, *_ = re.split(rb"(?:\r?\n|^)" + re.escape(mark), b"\n" + body)
    resource = re.split(rb"\r?\n\r?\n", first, maxsplit=1)[1]
    head, data = re.split(rb"\r?\n\r?\n", second, maxsplit=1)
    kind = re.search(rb"content-type:\s*([^\r\n]+)", head, re.IGNORECASE)
    return json.loads(resource), kind[1].decode() if kind else "application/octet-stream", data


async def continue_upload(index: Index, request: Request) -> Response:
    """Add a chunk to a resumable upload, report its progress, or drop it."""
    upload = request.query_params["upload_id"]
    if resource := index.finished(upload):
        return JSONResponse(resource)
    bucket, body, query = index.upload(upload)
    if request.method == "DELETE":
        index.drop_upload(upload)
        return Response(status_code=499)
    part, data = index.part(upload), await request.body()
    have = part.stat().st_size
    match = CONTENT_RANGE.match(request.headers.get("content-range", ""))
    first, total = (int(match[1]) if match and match[1] else have), (match[3] if match else str(have + len(data)))
    if data and first > have:
        raise StorageError(503, "backendError", f"chunk begins at {first}, but only {have} bytes are here")
    if data:
        with part.open("ab") as file:
            file.write(data[have - first :])
        have = part.stat().st_size
    if total == "*" or have < int(total):
        headers = {"range": f"bytes=0-{have - 1}"} if have else {}
        return Response(b"", 308, headers)
    return JSONResponse(index.put(bucket, body, part, query, upload))
