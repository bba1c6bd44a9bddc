"""A job of Airbyte: an answer of its API in, a typed value out."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.domain.types import Frozen

TERMINAL = ("succeeded", "failed", "cancelled")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Job(Frozen):
    """One sync of a connection; `rows` and `bytes` are None until Airbyte counts them, `ended_at` until it ends.

    `status` is Airbyte's own value; an unknown one does not end a job. `kind` is its type: sync, refresh, reset, clear.
    """

    id: int
    connection_id: str
    status: str
    created_at: datetime
    updated_at: datetime | None = None
    rows: int | None = None
    bytes: int | None = None
    error: str = ""
    kind: str = ""

    @property
    def refreshes(self) -> bool:
        """Return true when the job reads streams again from the beginning, under a new generation."""
        return self.kind == "refresh"

    @property
    def ended(self) -> bool:
        """Return true when the job has ended."""
        return self.status in TERMINAL

    @property
    def succeeded(self) -> bool:
        """Return true when the job ended with success."""
        return self.status == "succeeded"

    @property
    def ended_at(self) -> datetime | None:
        """Return the time of the job's end; None before it, or when Airbyte gives none."""
        return self.updated_at if self.ended else None


def parse_job(answer: Mapping[str, Any]) -> Job:
    """Return the job of an answer; versions of the public API give times as text or as seconds."""
    updated = answer.get("lastUpdatedAt")
    return Job(
        id=int(answer["jobId"]),
        connection_id=str(answer.get("connectionId") or ""),
        status=str(answer["status"]),
        created_at=_instant(answer.get("createdAt") or answer.get("startTime")),
        updated_at=_instant(updated) if updated else None,
        rows=answer.get("rowsSynced"),
        bytes=answer.get("bytesSynced"),
        error=str(answer.get("errorMessage") or answer.get("failureReason") or ""),
        kind=str(answer.get("jobType") or ""),
    )


def _instant(value: Any) -> datetime:
    if isinstance(value, int | float):
        return EPOCH + timedelta(seconds=value)
    return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
