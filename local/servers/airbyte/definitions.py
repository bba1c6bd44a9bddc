"""The API's definitions of sources: an image and its tag, or a manifest that `source-declarative-manifest` reads."""

import uuid
from collections.abc import Awaitable, Callable
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.servers.airbyte.answers import Json, RequestRejected, body_of, listing, text_of
from local.servers.airbyte.store import Store

Handler = Callable[[Request], Awaitable[Response]]
KINDS = {"sources": "definitions", "declarative_sources": "declaratives"}


def definition_handlers(store: Store, workspace: str) -> dict[str, tuple[Handler, Handler]]:
    """For each kind of definition, by its name in the path, the handlers of all and of one."""
    return {name: _handlers(store, workspace, kind) for name, kind in KINDS.items()}


def _handlers(store: Store, workspace: str, kind: str) -> tuple[Handler, Handler]:
    async def collection(request: Request) -> Response:
        _check_workspace(request, workspace)
        if request.method == "GET":
            return listing(request, store.items(kind))
        body = await body_of(request)
        item = body | (_new_image(body) if kind == "definitions" else _new_manifest(body))
        return JSONResponse(store.put(kind, item["id"], item))

    async def single(request: Request) -> Response:
        _check_workspace(request, workspace)
        item = store.item(kind, request.path_params["id"])
        if item is None:
            raise RequestRejected(404, f"definition {request.path_params['id']} does not exist")
        if request.method == "PUT":
            body = await body_of(request)
            item = store.put(kind, item["id"], item | (_image(body) if kind == "definitions" else _manifest(body)))
        return JSONResponse(item)

    return cast(tuple[Handler, Handler], (collection, single))


def _new_image(body: Json) -> Json:
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, text_of(body, "dockerRepository")))}


def _image(body: Json) -> Json:
    return {field: text_of(body, field) for field in ("name", "dockerImageTag")}


def _new_manifest(body: Json) -> Json:
    return {"id": str(uuid.uuid4()), "name": text_of(body, "name"), "version": 1} | _manifest(body)


def _manifest(body: Json) -> Json:
    if not isinstance(body.get("manifest"), dict) or body["manifest"].get("type") != "DeclarativeSource":
        raise RequestRejected(422, "the manifest is not declarative: its `type` is not DeclarativeSource")
    return {"manifest": body["manifest"]}


def _check_workspace(request: Request, workspace: str) -> None:
    if request.path_params["workspace"] != workspace:
        raise RequestRejected(404, f"workspace {request.path_params['workspace']} does not exist")
