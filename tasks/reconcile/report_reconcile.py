"""Shows what reconcile found."""

import logging

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from millrace.domain.errors import ReconcileIncomplete
from millrace.domain.findings import FOR_PEOPLE, Found, counts
from millrace.domain.names import RECONCILE_FOUND, RECONCILE_RESOURCE
from tasks.context import run_id

log = logging.getLogger(__name__)

COLUMNS = ("kind", "where", "count", "bytes", "detail")


@task(task_run_name="report", cache_policy=NO_CACHE)
def report_reconcile(found: list[Found], failed: list[Found], dry_run: bool) -> int:
    """Table, log line and, when there is anything, event of what was found; returns how much was."""
    rows = [{column: getattr(f, column) for column in COLUMNS} for f in (*found, *failed)]
    create_table_artifact(
        [{"found": row.pop("kind"), **row} for row in rows],
        key="reconcile",
        description="**Nothing is missing.**"
        if not rows
        else "**What was missing**"
        + (", and nothing was started: this run was dry." if dry_run else "; what has a flow was started."),
    )
    kinds = counts([*found, *failed])
    total = sum(f.count for f in found)
    fields = {"v": 1, "found": total, "failed": len(failed), "dry_run": dry_run, "kinds": kinds, "run_id": run_id()}
    log.info("reconcile.done", extra={"event": "reconcile.done", "fields": fields})
    if found:
        lost = sum(f.count for f in found if f.kind not in FOR_PEOPLE)
        shown = "; ".join(f"{count} x {kind}" for kind, count in kinds.items() if count)
        resource = {"prefect.resource.id": RECONCILE_RESOURCE, "millrace.work": "lost" if lost else "none"}
        emit_event(RECONCILE_FOUND, resource=resource, payload=fields | {"lost": lost, "shown": shown})
    return total


def raise_failures(failed: list[Found]) -> None:
    """End the run as failed when something could not be looked at or started.

    Raises:
        ReconcileIncomplete: names each task with its reason.
    """
    if failed:
        reasons = "; ".join(f"{f.where}: {f.detail}" for f in failed)
        raise ReconcileIncomplete(f"{len(failed)} of the steps failed, the others are done. {reasons}")
