"""Reports the age of each stream's newest merge and the limit of its contract."""

import logging
from datetime import UTC, datetime
from typing import Any

from millrace.contracts.stream import StreamContract
from millrace.domain.ledger import LedgerEntry
from millrace.observability.events import log_event
from tasks.context import open_warehouse, select_sources
from tasks.retries import uncached_task

log = logging.getLogger(__name__)


@uncached_task(task_run_name="report freshness", retries=2)
def report_freshness(source: str | None) -> list[str]:
    """Log one event for each stream with a freshness limit, for the service objectives; returns the late streams."""
    streams = [stream for contract in select_sources(source) for stream in contract.streams.values()]
    facts = freshness(streams, open_warehouse().ledger(kinds=("merged",)), datetime.now(UTC))
    for fields in facts:
        log_event(log, logging.INFO, "stream.freshness", **fields)
    return [str(fields["stream"]) for fields in facts if not fields["fresh"]]


def freshness(streams: list[StreamContract], merged: list[LedgerEntry], now: datetime) -> list[dict[str, Any]]:
    """Return each stream's age of the newest merge and limit, in seconds; a stream that was never merged is late."""
    newest = {f"{entry.source}.{entry.stream}": entry.at for entry in sorted(merged, key=lambda entry: entry.at)}
    facts = []
    for stream in streams:
        if limit := stream.freshness_s:
            age = round((now - newest[stream.id]).total_seconds()) if stream.id in newest else None
            facts.append(
                {"stream": stream.id, "age_s": age, "limit_s": limit, "fresh": age is not None and age <= limit}
            )
    return facts
