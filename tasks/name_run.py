"""Names and tags of runs: the subject and the result of a run in, `merge shop.orders · 3 files · 12,480 rows` out."""

import logging
from collections.abc import Sequence
from typing import Any

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from millrace.domain.alerts import SUMMARY_MARK, work
from millrace.domain.batch import Balance, Batch
from millrace.domain.sync import Landing
from millrace.observability.events import log_event

log = logging.getLogger(__name__)


def tag_run(*tags: str) -> None:
    """Tag this run with its stream and source, by which the UI filters runs; a repeated call changes nothing."""
    context = FlowRunContext.get()
    if context and context.flow_run and not set(tags) <= set(context.flow_run.tags):
        context.flow_run.tags = sorted({*context.flow_run.tags, *tags})  # Prefect does not refresh its copy of the run
        _update(tags=context.flow_run.tags)


def name_run_after_merge(merged: Sequence[tuple[Batch, Balance]]) -> None:
    """Append the merged files and rows to the name of this run."""
    files, rows = sum(len(batch.objects) for batch, _ in merged), sum(balance.rows_in for _, balance in merged)
    name_run(quantity(files, "file"), quantity(rows, "row"))


def name_run_after_landing(landings: Sequence[Landing]) -> None:
    """Append the landed files and rows to the name of this run."""
    files, rows = sum(landing.files for landing in landings), sum(landing.rows for landing in landings)
    name_run(quantity(files, "file"), quantity(rows, "row"))


def name_run(*results: str) -> None:
    """Append results to the name of this run, in place of earlier ones; its prefix, the work, does not change."""
    context = FlowRunContext.get()
    if context and context.flow_run:
        _update(name=SUMMARY_MARK.join([work(context.flow_run.name), *results]))


def quantity(count: int, noun: str) -> str:
    """Return `1 file`, `12,480 rows` or `2 batches`."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('ch') else 's'}"


def _update(**changes: Any) -> None:
    """Change this run in Prefect; a failure is logged only, as a name must not fail a run."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(context.flow_run.id, **changes)
    except Exception as error:
        log_event(log, logging.WARNING, "run.not_named", why=str(error), **changes)
