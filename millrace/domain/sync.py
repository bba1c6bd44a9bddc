"""A sync: one Airbyte job that reads a source into the lake."""

from datetime import datetime
from typing import Literal

from millrace.domain.landing import Count
from millrace.domain.types import Frozen, Name

Outcome = Literal["succeeded", "failed", "cancelled"]


class RequestedSync(Frozen):
    """A job that is being asked for; kept before the request, whose answer may be lost.

    A job of the connection that is newer than `after_job_id` is the one that was asked for, or as good as it.
    """

    source: Name
    connection_id: str
    after_job_id: int
    at: datetime


class StartedSync(Frozen):
    """A job that Airbyte accepted; kept before it is watched, so that a retry finds the same job again.

    `attached`: it ran before it was asked for. `at`: when it was asked for, from which its deadline counts.
    """

    source: Name
    connection_id: str
    job_id: int
    attached: bool = False
    at: datetime | None = None


class Sync(Frozen):
    """A job that ended; `rows` and `bytes` are what Airbyte reports, None when it does not.

    `sync_modes`: Airbyte's mode of each stream that the connection reads.
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
    error: str = ""


class Landing(Frozen):
    """What a sync landed of one stream; `manifest` is its path in the lake."""

    stream: Name
    manifest: str
    files: Count
    rows: Count
    bytes: Count
    unreadable: Count = 0
