"""Airbyte's public API: applications' tokens, workspaces, sources, destinations, connections and jobs."""

import asyncio
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from local.servers.airbyte.answers import (
    Json,
    RequestRejected,
    answer_error,
    as_instant,
    body_of,
    instant_of,
    listing,
    text_of,
)
from local.servers.airbyte.definitions import definition_handlers
from local.servers.airbyte.page import jobs_page
from local.servers.airbyte.runner import Runner
from local.servers.airbyte.scheduler import check_schedule
from local.servers.airbyte.store import TERMINAL, Store, new_id

TOKEN_S = 900
WORKSPACE = str(uuid.uuid5(uuid.NAMESPACE_DNS, "workspace.millrace.local"))
IDS = {"sources": "sourceId", "destinations": "destinationId", "connections": "connectionId"}
REFERENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "sources": {"definitionId": ("definitions", "declaratives")},
    "destinations": {},
    "connections": {"sourceId": ("sources",), "destinationId": ("destinations",)},
}
LISTED_TYPES = ("sync", "reset", "refresh", "clear")
SYNC_MODES = ("full_refresh_overwrite", "full_refresh_append", "incremental_append")
Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """Handlers over a store and a runner."""

    def __init__(self, store: Store, runner: Runner, client: tuple[str, str], token_s: float = TOKEN_S) -> None:
        self._store, self._runner, self._client, self._token_s = store, runner, client, token_s
        self._tokens: dict[str, float] = {}

    def application(self) -> Starlette:
        """The server."""
        routes = [Route("/applications/token", self.token, methods=["POST"]), Route("/health", self.health)]
        routes.append(self._route("/workspaces", self.workspaces, "GET"))
        for name, (collection, single) in definition_handlers(self._store, WORKSPACE).items():
            path = f"/workspaces/{{workspace}}/definitions/{name}"
            routes += [
                self._route(path, collection, "GET", "POST"),
                self._route(f"{path}/{{id}}", single, "GET", "PUT"),
            ]
        for kind in IDS:
            routes.append(self._route(f"/{kind}", self._collection(kind), "GET", "POST"))
            routes.append(self._route(f"/{kind}/{{id}}", self._single(kind), "GET", "PATCH", "DELETE"))
        routes.append(self._route("/jobs", self.jobs, "GET", "POST"))
        routes.append(self._route("/jobs/{id}", self.job, "GET", "DELETE"))
        return Starlette(
            routes=[Mount("/api/public/v1", routes=routes), Route("/", self.page)],
            exception_handlers={RequestRejected: answer_error, HTTPException: answer_error},
        )

    def _route(self, path: str, handler: Handler, *methods: str) -> Route:
        async def authorised(request: Request) -> Response:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if self._tokens.get(token, 0) < time.monotonic():
                raise RequestRejected(401, "the access token is missing, unknown or expired")
            return await handler(request)

        return Route(path, authorised, methods=list(methods))

    async def health(self, _: Request) -> Response:
        """Answer that the server is available."""
        return JSONResponse({"available": True})

    async def token(self, request: Request) -> Response:
        """Answer with a token for a client id and secret."""
        body = await body_of(request)
        credentials = (str(body.get("client_id", "")), str(body.get("client_secret", "")))
        pairs = zip(credentials, self._client, strict=True)
        if not all(secrets.compare_digest(a.encode(), b.encode()) for a, b in pairs):
            raise RequestRejected(401, "unknown client id or wrong secret")
        token, now = secrets.token_urlsafe(32), time.monotonic()
        self._tokens = {t: end for t, end in self._tokens.items() if end > now} | {token: now + self._token_s}
        return JSONResponse({"access_token": token, "expires_in": self._token_s, "token_type": "Bearer"})

    async def workspaces(self, _: Request) -> Response:
        """The one workspace."""
        return JSONResponse({"data": [{"workspaceId": WORKSPACE, "name": "Millrace", "dataResidency": "local"}]})

    def _collection(self, kind: str) -> Handler:
        async def handle(request: Request) -> Response:
            if request.method == "GET":
                return listing(request, self._store.items(kind))
            defaults = {"workspaceId": WORKSPACE} | ({"status": "active"} if kind == "connections" else {})
            item = defaults | await body_of(request) | {IDS[kind]: new_id()}
            return JSONResponse(self._store.put(kind, item[IDS[kind]], self._checked(kind, item)))

        return handle

    def _single(self, kind: str) -> Handler:
        async def handle(request: Request) -> Response:
            item_id = request.path_params["id"]
            item = self._store.item(kind, item_id)
            if item is None:
                raise RequestRejected(404, f"{kind[:-1]} {item_id} does not exist")
            if request.method == "DELETE":
                self._store.drop(kind, item_id)
                return Response(status_code=204)
            if request.method == "PATCH":
                changed = item | await body_of(request) | {IDS[kind]: item_id}
                item = self._store.put(kind, item_id, self._checked(kind, changed))
            return JSONResponse(item)

        return handle

    def _checked(self, kind: str, item: Json) -> Json:
        """An item that a job can rely on.

        Raises:
            RequestRejected: a field is missing or wrong, or refers to nothing.
        """
        text_of(item, "name")
        for field, of in REFERENCES[kind].items():
            if all(self._store.item(kind, text_of(item, field)) is None for kind in of):
                raise RequestRejected(404, f"{of[0][:-1]} {item[field]} does not exist")
        if not isinstance(item.get("configuration", {}), dict):
            raise RequestRejected(400, "configuration is not an object")
        if kind == "connections":
            _check_connection(item)
        return item

    async def jobs(self, request: Request) -> Response:
        """List jobs, or start one."""
        if request.method == "POST":
            return self._start(await body_of(request))
        query, since = request.query_params, instant_of(request, "updatedAtStart")
        by, _, direction = query.get("orderBy", "createdAt|DESC").partition("|")
        if by not in ("createdAt", "updatedAt") or direction not in ("ASC", "DESC"):
            raise RequestRejected(400, f"orderBy={query['orderBy']} is not createdAt or updatedAt with |ASC or |DESC")
        jobs = self._store.jobs(query.get("connectionId", ""))
        jobs = [j for j in jobs if query.get("status") in (None, j["status"]) and j["jobType"] in _types(query)]
        jobs = [j for j in jobs if as_instant(j["lastUpdatedAt"]) >= since]
        jobs.sort(key=lambda j: (j["lastUpdatedAt"] if by == "updatedAt" else "", j["jobId"]))
        return listing(request, jobs if direction == "ASC" else jobs[::-1])

    def _start(self, body: Json) -> Response:
        connection = self._store.item("connections", text_of(body, "connectionId"))
        if connection is None:
            raise RequestRejected(404, f"connection {body['connectionId']} does not exist")
        if body.get("jobType", "sync") != "sync":
            raise RequestRejected(422, f"jobType {body['jobType']!r} is not supported; expected sync")
        if connection["status"] != "active":
            raise RequestRejected(422, f"connection {connection['name']!r} is {connection['status']}")
        job = self._store.add_job(connection["connectionId"])
        if job is None:
            text = f"A sync is already running for: {connection['connectionId']}"
            raise RequestRejected(409, text, "try-again-later")
        self._runner.start(job)
        return JSONResponse(job)

    async def job(self, request: Request) -> Response:
        """One job; DELETE cancels it."""
        job = self._job(request.path_params["id"])
        if request.method == "DELETE":
            if job["status"] in TERMINAL:
                raise RequestRejected(409, f"job {job['jobId']} has ended")
            await asyncio.to_thread(self._runner.cancel, job["jobId"])
            job = self._job(str(job["jobId"]))
        return JSONResponse(self._runner.as_it_stands(job))

    def _job(self, number: str) -> Json:
        if not (number.isascii() and number.isdigit()) or len(number) > 18:
            raise RequestRejected(400, f"job id {number} is not a number")
        job = self._store.job(int(number))
        if job is None:
            raise RequestRejected(404, f"job {number} does not exist")
        return job

    async def page(self, _: Request) -> Response:
        """Connections and their newest jobs, for people."""
        return HTMLResponse(jobs_page(self._store.items("connections"), self._store.jobs()[:100]))


def _types(query: Mapping[str, str]) -> tuple[str, ...]:
    """Return the types of jobs that a listing has: one, or as in Airbyte those of syncs and resets.

    Raises:
        RequestRejected: Airbyte lists no jobs of that type.
    """
    kind = query.get("jobType")
    if kind not in (None, *LISTED_TYPES):
        raise RequestRejected(422, f"jobType {kind!r} is not one of {', '.join(LISTED_TYPES)}")
    return (kind,) if kind else ("sync", "reset")


def _check_connection(connection: Json) -> None:
    if connection.get("status") not in ("active", "inactive", "deprecated"):
        raise RequestRejected(400, f"status {connection.get('status')!r} is not active, inactive or deprecated")
    schedule = connection.get("schedule") or {}
    if not isinstance(schedule, dict):
        raise RequestRejected(400, "schedule is not an object")
    if problem := check_schedule(schedule):
        raise RequestRejected(400, f"schedule: {problem}")
    configurations = connection.get("configurations", {})
    streams = configurations.get("streams") or [] if isinstance(configurations, dict) else None
    if not isinstance(streams, list) or not all(isinstance(s, dict) for s in streams):
        raise RequestRejected(400, "configurations.streams is not a list of objects")
    for stream in streams:
        text_of(stream, "name")
        if stream.get("syncMode") not in (None, *SYNC_MODES):
            raise RequestRejected(
                400, f"stream {stream['name']}: syncMode {stream['syncMode']!r} is not among {', '.join(SYNC_MODES)}"
            )
