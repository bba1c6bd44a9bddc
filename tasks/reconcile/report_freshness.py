"""Tells how old each stream's newest merge is, beside what its contract promises."""

import logging
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.contracts.stream import StreamContract
from millrace.domain.ledger import LedgerEntry
from tasks.context import open_warehouse, wanted_sources
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)


@task(
    task_run_name="report freshness",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def report_freshness(source: str | None) -> list[str]:
    """Log one fact for each stream that promises freshness; objectives count them. Returns late ones."""
    streams = [stream for contract in wanted_sources(source) for stream in contract.streams.values()]
    facts = freshness(streams, open_warehouse().ledger(kinds=("merged",)), datetime.now(UTC))
    for fields in facts:
        log.info("stream.freshness", extra={"event": "stream.freshness", "fields": fields})
    return [str(fields["stream"]) for fields in facts if not fields["fresh"]]


def freshness(streams: list[StreamContract], merged: list[LedgerEntry], now: datetime) -> list[dict[str, Any]]:
    """Age in seconds of each stream's newest merge, its limit, whether it is kept; one never merged is late."""
    newest = {f"{entry.source}.{entry.stream}": entry.at for entry in sorted(merged, key=lambda entry: entry.at)}
    found = []
    for stream in streams:
        if limit := stream.freshness_s:
            age = round((now - newest[stream.id]).total_seconds()) if stream.id in newest else None
            found.append(
                {"stream": stream.id, "age_s": age, "limit_s": limit, "fresh": age is not None and age <= limit}
            )
    return found
