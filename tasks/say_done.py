"""Lets a run's name and tags say what it is about and what it did: `merge shop.orders · 3 files · 12,480 rows`."""

import logging
from collections.abc import Sequence
from typing import Any

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from millrace.domain.alerts import DONE, work
from millrace.domain.batch import Balance, Batch
from millrace.domain.sync import Landing

log = logging.getLogger(__name__)


def say_about(*tags: str) -> None:
    """Add tags to this run: a stream's and its source's, by which runs are found. Does nothing when it has them."""
    context = FlowRunContext.get()
    if context and context.flow_run and not set(tags) <= set(context.flow_run.tags):
        context.flow_run.tags = sorted({*context.flow_run.tags, *tags})  # else the next call would not know of these
        _update(tags=context.flow_run.tags)


def say_merged(merged: Sequence[tuple[Batch, Balance]]) -> None:
    """Name this run for the batches that it merged."""
    files, rows = sum(len(batch.objects) for batch, _ in merged), sum(balance.rows_in for _, balance in merged)
    say_done(many(files, "file"), many(rows, "row"))


def say_landed(landings: Sequence[Landing]) -> None:
    """Name this run for what it landed."""
    files, rows = sum(landing.files for landing in landings), sum(landing.rows for landing in landings)
    say_done(many(files, "file"), many(rows, "row"))


def say_done(*done: str) -> None:
    """Name this run for what it did; what it is at stays the beginning of the name."""
    context = FlowRunContext.get()
    if context and context.flow_run:
        _update(name=DONE.join([work(context.flow_run.name), *done]))


def many(count: int, what: str) -> str:
    """`1 file`, `12,480 rows`, `2 batches`."""
    return f"{count:,} {what}{'' if count == 1 else 'es' if what.endswith('ch') else 's'}"


def _update(**changes: Any) -> None:
    """A name that can't be told holds nothing back."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(context.flow_run.id, **changes)
    except Exception as error:
        log.warning("run.not_named", extra={"event": "run.not_named", "fields": {"why": str(error)} | changes})
