"""Reports the age of each stream's newest merge and the limit of its contract."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.contracts.stream import StreamContract
from millrace.observability.events import log_event
from tasks.context import open_warehouse, select_sources
from tasks.pauses import without_paused
from tasks.retries import uncached_task

log = logging.getLogger(__name__)

LOOK_BACK = timedelta(days=30)  # the age of a stream that was not merged since is unknown


@uncached_task(task_run_name="report freshness", retries=2)
def report_freshness(source: str | None) -> list[str]:
    """Log one event for each stream with a freshness limit, for the service objectives; returns the late streams."""
    sources = without_paused(select_sources(source))
    streams = [stream for contract in sources for stream in contract.streams.values()]
    now = datetime.now(UTC)
    limits = [timedelta(seconds=stream.freshness_s or 0) for stream in streams]
    since = now - max([LOOK_BACK, *(2 * limit for limit in limits)])
    facts = freshness(streams, open_warehouse().newest_merges(since), now)
    for fields in facts:
        log_event(log, logging.INFO, "stream.freshness", **fields)
    return [str(fields["stream"]) for fields in facts if not fields["fresh"]]


def freshness(streams: list[StreamContract], newest: Mapping[str, datetime], now: datetime) -> list[dict[str, Any]]:
    """Return each stream's age of the newest merge and limit, in seconds; a stream without a merge is late."""
    facts = []
    for stream in streams:
        if limit := stream.freshness_s:
            age = round((now - newest[stream.id]).total_seconds()) if stream.id in newest else None
            facts.append(
                {"stream": stream.id, "age_s": age, "limit_s": limit, "fresh": age is not None and age <= limit}
            )
    return facts
