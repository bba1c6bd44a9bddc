"""Requests for jobs in, the answers of `/jobs` out."""

import asyncio
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.airbyte.connectors import Connector
from local.airbyte.http import body_of, paging
from local.airbyte.jobs import Jobs, job_body
from local.airbyte.store import ACTIVE, ORDERS, Body, JobRuns, Store, timestamp
from local.airbyte.sync import Plan
from local.airbyte.wrong import Wrong

CONDITIONS = {"connectionId": "connection_id = ?", "status": "status = ?", "jobType": "job_type = ?"}
BOUNDS = {
    "createdAtStart": "created_at >= ?",
    "createdAtEnd": "created_at <= ?",
    "updatedAtStart": "updated_at >= ?",
    "updatedAtEnd": "updated_at <= ?",
}


class JobApi:
    """Starts, tells and cancels jobs."""

    def __init__(self, store: Store, jobs: Jobs, connectors: dict[str, Connector]) -> None:
        self._store, self._jobs, self._connectors = store, jobs, connectors

    async def create(self, request: Request) -> Response:
        """Start a sync, or reset a connection."""
        body = await body_of(request)
        kind, connection_id = body.get("jobType", "sync"), str(body.get("connectionId"))
        connection = self._store.get("connections", connection_id)
        if connection is None:
            raise Wrong(404, f"no such connectionId: {connection_id}")
        if kind not in ("sync", "reset"):
            raise Wrong(400, f"jobType {kind!r} is unknown here; write sync or reset")
        if connection["status"] != "active":
            raise Wrong(422, f"connection {connection['name']!r} is {connection['status']}; set its status to active")
        try:
            job_id = self._jobs.reset(connection_id) if kind == "reset" else self._jobs.start(self._plan(connection))
        except JobRuns:
            detail = f"A sync is already running for: {connection_id}"
            return JSONResponse({"status": 409, "type": "try-again-later", "title": detail, "detail": detail}, 409)
        return JSONResponse(self._body(self._job(job_id)))

    async def one(self, request: Request) -> Response:
        """Tell a job."""
        return JSONResponse(self._body(self._job(_number(request))))

    async def listing(self, request: Request) -> Response:
        """Tell jobs: filtered, ordered, one page."""
        limit, offset = paging(request)
        query = request.query_params
        filters = [(condition, query[name]) for name, condition in CONDITIONS.items() if query.get(name)]
        filters += [(condition, _moment(name, query[name])) for name, condition in BOUNDS.items() if query.get(name)]
        by, _, direction = query.get("orderBy", "updatedAt|DESC").partition("|")
        if by not in ORDERS or direction not in ("ASC", "DESC"):
            raise Wrong(400, "orderBy must be createdAt or updatedAt, then |ASC or |DESC")
        jobs = self._store.jobs(filters, (by, direction == "DESC"), limit, offset)
        return JSONResponse({"data": [self._body(job) for job in jobs], "previous": "", "next": ""})

    async def cancel(self, request: Request) -> Response:
        """Cancel a job; answers when it has stopped, so that nothing is written after."""
        job = self._job(_number(request))
        if job["status"] not in ACTIVE:
            raise Wrong(409, f"job {job['id']} has ended already: {job['status']}")
        await asyncio.to_thread(self._jobs.cancel, job["id"])
        return JSONResponse(self._body(self._job(job["id"])))

    def stop_jobs_of(self, connection_id: str) -> None:
        """Cancel what runs for a connection."""
        for status in ACTIVE:
            filters = [("connection_id = ?", connection_id), ("status = ?", status)]
            for job in self._store.jobs(filters, ("createdAt", True), 1, 0):
                self._jobs.cancel(job["id"])

    def _plan(self, connection: Body) -> Plan:
        source = self._store.get("sources", connection["sourceId"])
        destination = self._store.get("destinations", connection["destinationId"])
        if source is None or destination is None:
            raise Wrong(404, f"the source or destination of connection {connection['name']!r} has been deleted")
        image = self._connectors.get(source["definitionId"])
        if image is None:
            raise Wrong(422, f"no command stands for {source['sourceType']!r} any more; add it to --connectors")
        return Plan(0, connection, source, destination, image)

    def _job(self, job_id: int) -> Body:
        job = self._store.job(job_id)
        if job is None:
            raise Wrong(404, f"no such jobId: {job_id}")
        return job

    def _body(self, job: Body) -> Body:
        return job_body(job, self._jobs.progress(job["id"]) if job["status"] in ACTIVE else None)


def _number(request: Request) -> int:
    value = request.path_params["id"]
    if not value.isdecimal():
        raise Wrong(400, f"a job's id is a number, not {value!r}")
    return int(value)


def _moment(name: str, value: str) -> str:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise Wrong(400, f"{name} must be an instant such as 2026-01-31T00:00:00Z, not {value!r}") from None
    if found.tzinfo is None:
        raise Wrong(400, f"{name} must say its time zone, for instance by a Z at its end")
    return timestamp(found)
