"""Shows what reconcile found."""

import logging

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event

from contracts.names import WAREHOUSE_RESOURCE

log = logging.getLogger(__name__)


@task(task_run_name="report")
def report_reconcile(
    freed: list[str], unlanded: list[str], unmerged: dict[str, int], unpublished: dict[str, int], dry_run: bool
) -> int:
    """Table, event and log line of what was found; returns how much."""
    rows = [{"found": "slot that no run holds", "where": slot, "count": 1} for slot in freed]
    rows += [{"found": "sync without a manifest", "where": sync, "count": 1} for sync in unlanded]
    rows += [{"found": "landing not merged", "where": stream, "count": n} for stream, n in unmerged.items()]
    rows += [{"found": what, "where": "marts", "count": n} for what, n in unpublished.items()]
    total = len(freed) + len(unlanded) + sum(unmerged.values()) + sum(unpublished.values())
    create_table_artifact(rows, key="reconcile", description="Nothing is missing" if not rows else "What was missing")
    fields = {"v": 1, "found": total, "dry_run": dry_run}
    emit_event("reconcile.done", resource={"prefect.resource.id": WAREHOUSE_RESOURCE}, payload=fields)
    log.info("reconcile.done", extra={"event": "reconcile.done", "fields": fields})
    return total
