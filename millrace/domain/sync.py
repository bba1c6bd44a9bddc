"""A sync: one Airbyte job that reads a source into the lake."""

from datetime import datetime
from typing import Literal

from millrace.domain.landing import Count
from millrace.domain.types import Frozen, Name

Outcome = Literal["succeeded", "failed", "cancelled"]


class RequestedSync(Frozen):
    """A job that is about to be requested; stored before the request, whose answer may be lost.

    Any job of the connection newer than `after_job_id` counts as the requested one.
    """

    source: Name
    connection_id: str
    after_job_id: int
    at: datetime


class StartedSync(Frozen):
    """A job that Airbyte accepted; stored before it is awaited, so that a retry finds the same job.

    `attached`: the job ran before the request. `at`: the time of the request, from which the deadline counts.
    """

    source: Name
    connection_id: str
    job_id: int
    attached: bool = False
    at: datetime | None = None


class Sync(Frozen):
    """A job that ended; `rows` and `bytes` are the figures that Airbyte reports, None without a report.

    `sync_modes`: Airbyte's mode of each stream that the connection reads. `refreshes`: the job reads streams again from
    the beginning, as somebody asked for.
    """

    source: Name
    connection_id: str
    job_id: int
    created_at: datetime
    ended_at: datetime | None = None
    outcome: Outcome
    rows: Count | None = None
    bytes: Count | None = None
    sync_modes: dict[str, str] = {}  # noqa: RUF012  pydantic copies defaults
    refreshes: bool = False
    error: str = ""


class Landing(Frozen):
    """The files and rows of one stream that a sync wrote to the lake; `manifest` is a path in the lake."""

    stream: Name
    manifest: str
    files: Count
    rows: Count
    bytes: Count
    unreadable: Count = 0
