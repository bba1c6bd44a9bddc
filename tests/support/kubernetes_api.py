"""A small Kubernetes API over a cluster's jobs and pods, for a real worker: it rejects what the rights do not grant."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from local.servers.rights.kubernetes import forbidden, permission, token_user
from local.servers.rights.policy import Denial, Policy
from tests.support.kubernetes_cluster import Cluster, Json

KINDS = {"jobs": "batch/v1", "pods": "v1"}
BATCH = {"groupVersion": "batch/v1", "version": "v1"}


def _resources(group: str, *names: str) -> Json:
    """Return the description of a group's types."""
    verbs = ["create", "get", "list", "watch", "delete", "patch"]
    kinds = [
        {
            "name": name,
            "singularName": name[:-1],
            "kind": name[:-1].capitalize(),
            "namespaced": name != "namespaces",
            "verbs": verbs,
        }
        for name in names
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": kinds}


DISCOVERY = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "batch", "versions": [BATCH], "preferredVersion": BATCH}],
    },
    "/api/v1": _resources("v1", "namespaces", "pods"),
    "/apis/batch/v1": _resources("batch/v1", "jobs"),
}


class Api:
    """The API's routes, over one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def application(self) -> web.Application:
        """Return the application that answers all paths."""
        app = web.Application()
        for path in ("/version", "/version/", "/api", "/apis", "/api/v1", "/apis/batch/v1", "/api/", "/apis/"):
            app.router.add_get(path, discovery)
        for prefix, resource in (("/apis/batch/v1", "jobs"), ("/api/v1", "pods")):
            path = f"{prefix}/namespaces/{{namespace}}/{{resource:{resource}}}"
            app.router.add_route("*", path, self.namespaced)
            app.router.add_route("*", f"{path}/{{name}}", self.namespaced)
        app.router.add_route("*", "/{rest:.*}", self.other)
        return app

    async def namespaced(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for jobs or pods of a namespace, if the caller may make it."""
        resource, name = request.match_info["resource"], request.match_info.get("name", "")
        namespace, watch = request.match_info["namespace"], request.query.get("watch") in ("true", "True", "1")
        group = "batch" if "/apis/batch/" in request.path else ""
        verb = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}.get(request.method, "get" if name else "list")
        verb = "watch" if watch else verb
        try:
            user = token_user(request.headers.get("Authorization", ""))
        except ValueError as error:
            return failure(401, "Unauthorized", str(error))
        denial = Denial(user, permission(verb, resource, group), f"namespaces/{namespace}")
        if not self._cluster.policy.allows(denial.email, denial.permission, denial.resource):
            self._cluster.refused.append(f"{user} {verb} {resource} in {namespace}")
            return failure(403, "Forbidden", forbidden(denial, name))
        if request.method == "POST":
            code, answer = await self._cluster.create(namespace, await request.json())
            return web.json_response(answer, status=code)
        if request.method == "DELETE":
            gone = await self._cluster.delete(name)
            return web.json_response(gone) if gone else failure(404, "NotFound", f"{name} not found")
        if watch:
            return await self._watch(request, resource)
        if name:
            obj = self._cluster.objects[resource].get(name)
            return web.json_response(obj) if obj else failure(404, "NotFound", f"{name} not found")
        items = [
            o for o in self._cluster.objects[resource].values() if selected(o, request.query.get("labelSelector", ""))
        ]
        kind = "JobList" if resource == "jobs" else "PodList"
        own = {"apiVersion": KINDS[resource], "kind": kind, "metadata": {"resourceVersion": str(self._cluster.version)}}
        return web.json_response(own | {"items": items})

    async def _watch(self, request: web.Request, resource: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        queue: asyncio.Queue[Json] = asyncio.Queue()
        self._cluster.watchers.append((resource, queue))
        try:
            while True:
                event = await queue.get()
                if selected(event["object"], request.query.get("labelSelector", "")):
                    await response.write(json.dumps(event).encode() + b"\n")
        except ConnectionResetError:
            return response
        finally:
            self._cluster.watchers.remove((resource, queue))

    async def other(self, request: web.Request) -> web.Response:
        """Refuse whatever else is asked, and note it."""
        self._cluster.refused.append(f"{request.method} {request.path}")
        return failure(403, "Forbidden", f"{request.path} is forbidden")


async def discovery(request: web.Request) -> web.Response:
    """Answer which groups and types there are."""
    return web.json_response(DISCOVERY[request.path.rstrip("/")])


def failure(code: int, reason: str, message: str) -> web.Response:
    """A refusal as Kubernetes words it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return web.json_response(body, status=code)


def selected(obj: Json, selector: str) -> bool:
    """Return True when an object matches a selector of `key`, `key=value` and `!key`; the worker uses no other form."""
    labels = obj["metadata"].get("labels", {})
    for part in filter(None, selector.split(",")):
        key, _, value = part.partition("=")
        if key.startswith("!"):
            if key[1:] in labels:
                return False
        elif key not in labels or (value and labels[key] != value.lstrip("=")):
            return False
    return True


@contextmanager
def cluster(port: int, folder: Path, rights: Path, **holds: Any) -> Iterator[Cluster]:
    """A cluster that enforces a file of rights; what runs in it ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    running = Cluster(port, folder, Policy.load(rights), **holds)
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        runner = web.AppRunner(Api(running).application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()
        await asyncio.Event().wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10), "the cluster's API answers"
    try:
        yield running
    finally:
        running.end()
