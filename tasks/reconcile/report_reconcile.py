"""Reports the gaps and failures of a reconcile run: as a table, a log line and an event."""

import logging
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from millrace.domain.errors import ReconcileIncomplete
from millrace.domain.findings import FOR_PEOPLE, Gap, counts
from millrace.domain.names import RECONCILE_FOUND, RECONCILE_RESOURCE
from millrace.observability.events import log_event
from tasks.context import run_id
from tasks.emit import emit

log = logging.getLogger(__name__)

COLUMNS = ("kind", "where", "count", "bytes", "detail")


@task(task_run_name="report", cache_policy=NO_CACHE)
def report_reconcile(gaps: list[Gap], failed: list[Gap], dry_run: bool) -> int:
    """Create the table, log the totals, and emit an event when there are gaps; returns their number."""
    rows = [{column: getattr(gap, column) for column in COLUMNS} for gap in (*gaps, *failed)]
    create_table_artifact(
        [{"found": row.pop("kind"), **row} for row in rows],
        key="reconcile",
        description="**Nothing is missing.**"
        if not rows
        else "**Missing work**"
        + (": this was a dry run, so nothing was started." if dry_run else ": the flows for it were started."),
    )
    kinds = counts([*gaps, *failed])
    total = sum(gap.count for gap in gaps)
    fields: dict[str, Any] = {
        "v": 1,
        "found": total,
        "failed": len(failed),
        "dry_run": dry_run,
        "kinds": kinds,
        "run_id": run_id(),
    }
    log_event(log, logging.INFO, "reconcile.done", **fields)
    if gaps:
        lost = sum(gap.count for gap in gaps if gap.kind not in FOR_PEOPLE)
        summary = "; ".join(f"{count} x {kind}" for kind, count in kinds.items() if count)
        payload = fields | {"lost": lost, "shown": summary}
        emit(RECONCILE_FOUND, RECONCILE_RESOURCE, payload, work="lost" if lost else "none")
    return total


def raise_failures(failed: list[Gap]) -> None:
    """Fail the run when one of its tasks failed.

    Raises:
        ReconcileIncomplete: names each task with its reason.
    """
    if failed:
        reasons = "; ".join(f"{gap.where}: {gap.detail}" for gap in failed)
        raise ReconcileIncomplete(f"{len(failed)} steps failed, all others succeeded. {reasons}")
