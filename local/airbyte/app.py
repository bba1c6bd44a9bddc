"""Airbyte's public API: applications' tokens, workspaces, sources, destinations, connections and jobs."""

import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from local.airbyte.store import TERMINAL, Json, Store, new_id
from local.airbyte.sync import Runner

TOKEN_S = 900
WORKSPACE = str(uuid.uuid5(uuid.NAMESPACE_DNS, "workspace.millrace.local"))
IDS = {"sources": "sourceId", "destinations": "destinationId", "connections": "connectionId"}
Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """Handlers over a store and a runner."""

    def __init__(self, store: Store, runner: Runner, client: tuple[str, str]) -> None:
        self._store, self._runner, self._client = store, runner, client
        self._tokens: dict[str, float] = {}

    def application(self) -> Starlette:
        """The server."""
        routes = [Route("/applications/token", self.token, methods=["POST"]), Route("/health", self.health)]
        routes.append(self._route("/workspaces", self.workspaces, "GET"))
        routes.append(self._route("/workspaces/{workspace}/definitions/sources", self.definitions, "GET", "POST"))
        for kind in IDS:
            routes.append(self._route(f"/{kind}", self._collection(kind), "GET", "POST"))
            routes.append(self._route(f"/{kind}/{{id}}", self._single(kind), "GET", "PATCH", "DELETE"))
        routes.append(self._route("/jobs", self.jobs, "GET", "POST"))
        routes.append(self._route("/jobs/{id:int}", self.job, "GET", "DELETE"))
        return Starlette(routes=[Mount("/api/public/v1", routes=routes), Route("/", self.page)])

    def _route(self, path: str, handler: Handler, *methods: str) -> Route:
        async def authorised(request: Request) -> Response:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if self._tokens.get(token, 0) < time.monotonic():
                return refusal(401, "unauthorized", "the access token is missing, unknown or expired")
            return await handler(request)

        return Route(path, authorised, methods=list(methods))

    async def health(self, _: Request) -> Response:
        """Whether the server answers."""
        return JSONResponse({"available": True})

    async def token(self, request: Request) -> Response:
        """A token for a client id and secret."""
        body = await request.json()
        given = (str(body.get("client_id", "")), str(body.get("client_secret", "")))
        if not all(secrets.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._client, strict=True)):
            return refusal(401, "unauthorized", "unknown client id or wrong secret")
        token = secrets.token_urlsafe(32)
        self._tokens = {t: end for t, end in self._tokens.items() if end > time.monotonic()}
        self._tokens[token] = time.monotonic() + TOKEN_S
        return JSONResponse({"access_token": token, "expires_in": TOKEN_S, "token_type": "Bearer"})

    async def workspaces(self, _: Request) -> Response:
        """The one workspace."""
        return JSONResponse({"data": [{"workspaceId": WORKSPACE, "name": "Millrace", "dataResidency": "local"}]})

    async def definitions(self, request: Request) -> Response:
        """List or add source definitions: an image and its tag."""
        if request.method == "GET":
            return listing(request, self._store.items("definitions"))
        body = await request.json()
        body["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, body["dockerRepository"]))
        return JSONResponse(self._store.put("definitions", body["id"], body))

    def _collection(self, kind: str) -> Handler:
        async def handle(request: Request) -> Response:
            if request.method == "GET":
                return listing(request, self._store.items(kind))
            body = await request.json()
            if "name" not in body:
                return refusal(400, "bad-request", f"a {kind[:-1]} needs a name")
            body[IDS[kind]] = new_id()
            body.setdefault("workspaceId", WORKSPACE)
            if kind == "connections":
                body.setdefault("status", "active")
            return JSONResponse(self._store.put(kind, body[IDS[kind]], body))

        return handle

    def _single(self, kind: str) -> Handler:
        async def handle(request: Request) -> Response:
            item_id = request.path_params["id"]
            there = self._store.item(kind, item_id)
            if there is None:
                return refusal(404, "resource-not-found", f"no {kind[:-1]} {item_id}")
            if request.method == "DELETE":
                self._store.drop(kind, item_id)
                return Response(status_code=204)
            if request.method == "PATCH":
                there = self._store.put(kind, item_id, there | await request.json())
            return JSONResponse(there)

        return handle

    async def jobs(self, request: Request) -> Response:
        """List jobs, or start one."""
        if request.method == "POST":
            return await self._start(await request.json())
        query = request.query_params
        jobs = self._store.jobs(query.get("connectionId", ""))
        jobs = [j for j in jobs if query.get("status") in (None, j["status"])]
        jobs = [j for j in jobs if j["lastUpdatedAt"] >= query.get("updatedAtStart", "")]
        if query.get("orderBy", "createdAt|DESC").endswith("ASC"):
            jobs.reverse()
        return listing(request, jobs)

    async def _start(self, body: Json) -> Response:
        connection = self._store.item("connections", body.get("connectionId", ""))
        if connection is None:
            return refusal(404, "resource-not-found", f"no connection {body.get('connectionId')}")
        if connection.get("status") != "active":
            return refusal(422, "unprocessable", f"connection {connection['name']!r} is {connection.get('status')}")
        job = self._store.add_job(connection["connectionId"])
        if job is None:
            text = f"A sync is already running for: {connection['connectionId']}"
            return refusal(409, "try-again-later", text)
        self._runner.start(job)
        return JSONResponse(job)

    async def job(self, request: Request) -> Response:
        """One job; DELETE cancels it."""
        job = self._store.job(request.path_params["id"])
        if job is None:
            return refusal(404, "resource-not-found", f"no job {request.path_params['id']}")
        if request.method == "DELETE":
            if job["status"] in TERMINAL:
                return refusal(409, "state-conflict", f"job {job['jobId']} has ended")
            self._runner.cancel(job["jobId"])
        return JSONResponse(job)

    async def page(self, _: Request) -> Response:
        """Connections and their newest jobs, for people."""
        rows = "".join(
            f"<tr><td>{j['jobId']}<td>{escape(j['status'])}<td>{j['startTime']}<td>{j['rowsSynced']:,}"
            f"<td>{escape(j.get('failureReason', ''))}</tr>"
            for j in self._store.jobs()[:100]
        )
        names = ", ".join(escape(c["name"]) for c in self._store.items("connections"))
        return HTMLResponse(
            "<!doctype html><meta charset=utf-8><title>Airbyte · Millrace</title><style>body{font:15px system-ui;"
            "margin:2em;color-scheme:light dark}td,th{padding:4px 14px;text-align:left}</style>"
            f"<h1>Local Airbyte</h1><p>Connections: {names or 'none'}</p>"
            f"<table><tr><th>job<th>status<th>started<th>rows<th>reason</tr>{rows}</table>"
        )


def listing(request: Request, items: list[Json]) -> Response:
    """One page of a list."""
    limit, offset = int(request.query_params.get("limit", 20)), int(request.query_params.get("offset", 0))
    return JSONResponse({"data": items[offset : offset + limit], "previous": "", "next": ""})


def refusal(status: int, kind: str, detail: str) -> Response:
    """An error as the API words it."""
    return JSONResponse({"status": status, "type": f"error:{kind}", "title": kind, "detail": detail}, status)
