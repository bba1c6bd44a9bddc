"""Tells how old each stream's newest merge is, beside what its contract promises."""

import logging
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from contracts.ledger import LedgerEntry
from contracts.source import find_source, load_sources
from contracts.stream import StreamContract
from tasks.place import open_warehouse
from tasks.retries import DELAYS_S, is_transient
from tasks.source import SOURCES

log = logging.getLogger(__name__)


@task(task_run_name="report freshness", retries=2, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient,
      cache_policy=NO_CACHE)  # fmt: skip
def report_freshness(source: str | None) -> None:
    """Log one fact for each stream that promises freshness; objectives count them."""
    sources = load_sources(SOURCES)
    wanted = [find_source(sources, source)] if source else list(sources.values())
    streams = [stream for contract in wanted for stream in contract.streams.values()]
    for fields in freshness(streams, open_warehouse().ledger(kinds=("merged",)), datetime.now(UTC)):
        log.info("stream.freshness", extra={"event": "stream.freshness", "fields": fields})


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
