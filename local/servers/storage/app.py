"""The JSON and XML API over an index: requests are matched on the raw path, where `%2F` is part of a name."""

import json
import mimetypes
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local.servers.rights.policy import Policy
from local.servers.storage.batch import answer_batch
from local.servers.storage.bodies import chunks, json_of, span
from local.servers.storage.index import DESCRIBING, Index, pieces
from local.servers.storage.listing import list_objects
from local.servers.storage.rights import Guard
from local.servers.storage.rules import Json, Preconditions, StorageError
from local.servers.storage.signed import check_signed
from local.servers.storage.uploads import continue_upload, start_upload

MOST_COMPOSED = 32
Handler = Callable[..., Awaitable[Response]]


def storage_app(
    index: Index,
    base_url: str,
    changed: Callable[[], None],
    certificate: str | None = None,
    policy: Policy | None = None,
) -> Starlette:
    """The whole server; `changed` is called after each write, so that announcements go out at once.

    Signed URLs are checked against `certificate`, without one only for their time; bearers against `policy`.
    """
    guard = Guard(policy, lambda bucket, name: index.find(bucket, name) is not None) if policy else None
    api = Api(index, base_url)
    routes = [(re.compile(f"^{pattern}$"), methods, handler) for pattern, methods, handler in api.routes()]

    async def answer(request: Request) -> Response:
        path, query = request.scope["raw_path"].decode().split("?")[0], request.scope["query_string"].decode()
        try:
            check_signed(request.method, path, query, request.headers, datetime.now(UTC), certificate)
            if guard:
                await guard.check(request)
            return await dispatch(routes, request)
        except StorageError as error:
            return problem(error)

    async def serve(request: Request) -> Response:
        if request.method == "POST" and request.url.path == "/batch/storage/v1":
            try:
                answered = await answer_batch(request, answer)
            except StorageError as error:
                answered = problem(error)
        else:
            answered = await answer(request)
        if request.method not in ("GET", "HEAD"):
            changed()
        return answered

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
    return Starlette(routes=[Route("/{path:path}", serve, methods=methods)])


async def dispatch(routes: list[tuple[re.Pattern[str], str, Handler]], request: Request) -> Response:
    """Answer by the first route that fits."""
    path = request.scope["raw_path"].decode().split("?")[0]
    for pattern, methods, handler in routes:
        match = pattern.match(path)
        if match and request.method in methods.split():
            return await handler(request, *(unquote(part) for part in match.groups()))
    raise StorageError(404, "notFound", f"{request.method} {path} is not served here")


def problem(error: StorageError) -> Response:
    """An error as the JSON API words it."""
    if error.status == 304:
        return Response(status_code=304)
    detail = {"message": str(error), "domain": "global", "reason": error.reason}
    return JSONResponse({"error": {"code": error.status, "message": str(error), "errors": [detail]}}, error.status)


class Api:
    """Handlers by route."""

    def __init__(self, index: Index, base_url: str) -> None:
        self._index, self._base = index, base_url

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Pattern of the raw path, methods, handler; the first that fits is taken."""
        b, o = r"(?:/storage/v1)?/b/([^/]+)", r"/o/([^/]+)"
        return [
            ("/_local/health", "GET", self.health),
            (r"(?:/resumable)?/upload/storage/v1/b/([^/]+)/o", "POST PUT DELETE", self.upload),
            (f"(?:/download)?{b}{o}", "GET HEAD", self.get),
            (f"{b}{o}", "PATCH PUT", self.patch),
            (f"{b}{o}", "DELETE", self.delete),
            (f"{b}{o}/(?:rewriteTo|copyTo){b.replace('(?:/storage/v1)?', '')}{o}", "POST", self.copy),
            (f"{b}{o}/compose", "POST", self.compose),
            (f"{b}/o", "GET", self.list),
            (f"{b}/notificationConfigs", "GET POST", self.notifications),
            (f"{b}/notificationConfigs/([^/]+)", "GET DELETE", self.notification),
            (f"{b}/lockRetentionPolicy", "POST", self.lock),
            (b, "GET", self.bucket),
            (b, "PATCH PUT", self.change_bucket),
            (b, "DELETE", self.delete_bucket),
            (r"(?:/storage/v1)?/b", "GET POST", self.buckets),
            ("/([^/]+)/(.+)", "GET HEAD", self.page),
            ("/([^/]+)/(.+)", "PUT", self.xml_put),
            ("/([^/]+)/(.+)", "DELETE", self.delete),
        ]

    async def health(self, _: Request) -> Response:
        """Answer that the server is available."""
        return JSONResponse({"status": "ok"})

    async def buckets(self, request: Request) -> Response:
        """List or make buckets."""
        if request.method == "POST":
            return JSONResponse(self._index.buckets.add(await json_of(request)))
        items = self._index.buckets.list(request.query_params.get("prefix", ""))
        return JSONResponse({"kind": "storage#buckets", "items": items})

    async def bucket(self, request: Request, bucket: str) -> Response:
        """A bucket."""
        resource = self._index.buckets.get(bucket)
        Preconditions.of(dict(request.query_params)).check(resource, reading=True)
        return JSONResponse(resource)

    async def change_bucket(self, request: Request, bucket: str) -> Response:
        """Change a bucket's settings."""
        changes = await json_of(request)
        return JSONResponse(self._index.buckets.change(bucket, changes, dict(request.query_params)))

    async def lock(self, request: Request, bucket: str) -> Response:
        """Lock a bucket's retention policy."""
        return JSONResponse(self._index.buckets.lock(bucket, dict(request.query_params)))

    async def delete_bucket(self, request: Request, bucket: str) -> Response:
        """Delete an empty bucket."""
        self._index.buckets.drop(bucket, dict(request.query_params))
        return Response(status_code=204)

    async def list(self, request: Request, bucket: str) -> Response:
        """Objects by prefix."""
        return JSONResponse(list_objects(self._index, bucket, dict(request.query_params)))

    async def upload(self, request: Request, bucket: str) -> Response:
        """Simple, multipart and resumable uploads."""
        if "upload_id" in request.query_params:
            return await continue_upload(self._index, request)
        return await start_upload(self._index, request, bucket, self._base)

    async def get(self, request: Request, bucket: str, name: str) -> Response:
        """An object's resource, or with `alt=media` its bytes."""
        query = dict(request.query_params)
        resource = self._index.get(bucket, name, query)
        if query.get("alt") == "media" or request.url.path.startswith("/download"):
            return self._media(request, resource)
        return JSONResponse(resource)

    async def page(self, request: Request, bucket: str, name: str) -> Response:
        """Answer with an object's bytes, as the XML API does; a folder shows its index page."""
        if name.endswith("/") and self._index.find(bucket, name) is None:
            name += "index.html"
        return self._media(request, self._index.get(bucket, name, dict(request.query_params)))

    def _media(self, request: Request, resource: Json) -> Response:
        kind = resource.get("contentType") or mimetypes.guess_type(resource["name"])[0] or "application/octet-stream"
        md5 = f",md5={resource['md5Hash']}" if "md5Hash" in resource else ""
        headers = {
            "x-goog-generation": resource["generation"],
            "x-goog-metageneration": resource["metageneration"],
            "x-goog-hash": f"crc32c={resource['crc32c']}" + md5,
            "etag": f'"{resource["etag"]}"',
            "x-goog-stored-content-length": resource["size"],
            "x-goog-stored-content-encoding": "identity",
        }
        size, range_header = int(resource["size"]), request.headers.get("range", "")
        ranged = range_header.startswith("bytes=") and "," not in range_header
        first, last = span(range_header, size) if ranged else (0, size - 1)
        if ranged:
            headers["content-range"] = f"bytes {first}-{last}/{size}"
        headers["content-length"] = str(last - first + 1)
        if request.method == "HEAD":
            return Response(b"", 200, headers, kind)
        file = self._index.path(resource).open("rb")  # opened at once: the next write of this name removes it
        file.seek(first)
        return StreamingResponse(chunks(file, last - first + 1), 206 if ranged else 200, headers, kind)

    async def patch(self, request: Request, bucket: str, name: str) -> Response:
        """Change metadata."""
        changes = await json_of(request)
        return JSONResponse(self._index.patch(bucket, name, changes, dict(request.query_params)))

    async def delete(self, request: Request, bucket: str, name: str) -> Response:
        """Delete an object."""
        self._index.drop(bucket, name, dict(request.query_params))
        return Response(status_code=204)

    async def xml_put(self, request: Request, bucket: str, name: str) -> Response:
        """Write an object as the XML API does."""
        query = dict(request.query_params)
        if match := request.headers.get("x-goog-if-generation-match"):
            query["ifGenerationMatch"] = match
        prefix = "x-goog-meta-"
        metadata = {k.removeprefix(prefix): v for k, v in request.headers.items() if k.startswith(prefix)}
        body = {"name": name, "contentType": request.headers.get("content-type"), "metadata": metadata or None}
        resource = self._index.put(bucket, body, await request.body(), query)
        return Response(b"", 200, {"x-goog-generation": resource["generation"], "etag": f'"{resource["etag"]}"'})

    async def copy(self, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> Response:
        """Copy or rewrite, in one step."""
        query = dict(request.query_params)
        which = {"generation": query["sourceGeneration"]} if "sourceGeneration" in query else {}
        source = self._index.get(bucket, name, which)
        Preconditions.of(query, "ifSource").check(source)
        described = {key: source[key] for key in DESCRIBING if key in source}
        body = described | {k: v for k, v in (await json_of(request)).items() if v} | {"name": to_name}
        body |= {"md5Hash": None, "crc32c": None}
        resource = self._index.put(to_bucket, body, self._index.path(source), query)
        if "/copyTo/" in request.url.path:
            return JSONResponse(resource)
        size = resource["size"]
        return JSONResponse(
            {
                "kind": "storage#rewriteResponse",
                "totalBytesRewritten": size,
                "objectSize": size,
                "done": True,
                "resource": resource,
            }
        )

    async def compose(self, request: Request, bucket: str, name: str) -> Response:
        """Join objects into one."""
        request_body = await json_of(request)
        listed = request_body.get("sourceObjects") or []
        if not 1 <= len(listed) <= MOST_COMPOSED:
            raise StorageError(400, "invalid", f"from 1 to {MOST_COMPOSED} objects are composed, not {len(listed)}")
        sources = []
        for component in listed:
            which = {"generation": str(component["generation"])} if component.get("generation") else {}
            sources.append(self._index.get(bucket, component["name"], which))
            Preconditions.of(component.get("objectPreconditions") or {}).check(sources[-1])
        count = sum(int(source.get("componentCount", 1)) for source in sources)
        body = (request_body.get("destination") or {}) | {"name": name, "componentCount": count}
        body |= {"md5Hash": None, "crc32c": None}  # clients send those of the object that is replaced
        with self._index.scratch() as joined:
            with joined.open("wb") as file:
                for source in sources:
                    file.writelines(pieces(self._index.path(source)))
            return JSONResponse(self._index.put(bucket, body, joined, dict(request.query_params)))

    async def notifications(self, request: Request, bucket: str) -> Response:
        """List or make notification configurations."""
        self._index.buckets.get(bucket)
        if request.method == "POST":
            body = {"payload_format": "JSON_API_V1"} | await json_of(request) | {"kind": "storage#notification"}
            row = self._index.db.execute(
                "INSERT INTO notifications (bucket, body) VALUES (?, ?)", (bucket, json.dumps(body))
            )
            return JSONResponse(body | {"id": str(row.lastrowid)})
        rows = self._index.db.execute("SELECT id, body FROM notifications WHERE bucket = ? ORDER BY id", (bucket,))
        return JSONResponse({"items": [json.loads(text) | {"id": str(number)} for number, text in rows]})

    async def notification(self, request: Request, bucket: str, number: str) -> Response:
        """One notification configuration."""
        where = "FROM notifications WHERE bucket = ? AND id = ?"
        row = self._index.db.execute(f"SELECT body {where}", (bucket, number)).fetchone()
        if row is None:
            raise StorageError(404, "notFound", f"no notification {number} on {bucket}")
        if request.method == "DELETE":
            self._index.db.execute(f"DELETE {where}", (bucket, number))
            return Response(status_code=204)
        return JSONResponse(json.loads(row[0]) | {"id": number})
