"""Posts the JSON of Airbyte's notification webhook to a URL when a job ended: once, unsigned, without retries."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx

from local.servers.airbyte.store import Store

TIMEOUT_S = 10.0
NOTIFIED = ("succeeded", "failed")  # Airbyte has a notification for each of these, and none for a cancelled job
UNITS = ("B", "kB", "MB", "GB")
Json = dict[str, Any]
Notify = Callable[[Json, Callable[[str], None]], None]


class Webhook:
    """A webhook at `url`; `workspace` is the id of the only workspace."""

    def __init__(self, store: Store, url: str, workspace: str) -> None:
        self._store, self._url, self._workspace = store, url, workspace

    def notify(self, job: Json, log: Callable[[str], None]) -> None:
        """Post a job that ended; a failure is only a line of the job's log, as with Airbyte."""
        if job["status"] not in NOTIFIED:
            return
        try:
            answer = httpx.post(self._url, json=self._body(job), timeout=TIMEOUT_S)
            log(f"webhook: {answer.status_code}")
        except httpx.HTTPError as error:
            log(f"webhook: {error!r}")

    def _body(self, job: Json) -> Json:
        connection = self._store.item("connections", job["connectionId"]) or {}
        succeeded, name = job["status"] == "succeeded", str(connection.get("name", job["connectionId"]))
        text = f"Sync completed: {name}" if succeeded else f"Sync failed: {name}"
        return {
            "text": text,
            "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}],
            "data": self._summary(job, connection, name, succeeded),
        }

    def _summary(self, job: Json, connection: Json, name: str, succeeded: bool) -> Json:
        started, finished = job["startTime"], job["lastUpdatedAt"]
        seconds = int((datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds())
        size, rows = job["bytesSynced"], job["rowsSynced"]
        workspace = {"id": self._workspace, "name": "Millrace", "url": ""}
        return {
            "workspace": workspace,
            "connection": {"id": job["connectionId"], "name": name, "url": ""},
            "source": self._part("sources", connection.get("sourceId", "")),
            "destination": self._part("destinations", connection.get("destinationId", "")),
            "jobId": job["jobId"],
            "success": succeeded,
            "startedAt": started,
            "finishedAt": finished,
            "bytesEmitted": size,
            "bytesCommitted": size,
            "recordsEmitted": rows,
            "recordsCommitted": rows,
            "recordsFilteredOut": 0,
            "bytesFilteredOut": 0,
            "errorMessage": None if succeeded else job.get("failureReason", ""),
            "errorType": None if succeeded else "system_error",
            "errorOrigin": None if succeeded else "source",
            "durationInSeconds": seconds,
            "durationFormatted": f"{seconds // 60} min {seconds % 60} sec",
            "bytesEmittedFormatted": volume(size),
            "bytesCommittedFormatted": volume(size),
        }

    def _part(self, kind: str, item_id: str) -> Json:
        item = self._store.item(kind, item_id) or {}
        return {"id": item_id, "name": item.get("name", ""), "url": ""}


def volume(size: int) -> str:
    """Bytes as Airbyte words them."""
    for unit in UNITS:
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} TB"
