"""Starts whatever an event should have started and did not: the platform converges without any event."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.find_unlanded import find_unlanded
from tasks.find_work import find_unmerged, find_unpublished
from tasks.free_slots import free_slots
from tasks.report_freshness import report_freshness
from tasks.report_reconcile import report_reconcile
from tasks.start_flows import start_flows


@flow(flow_run_name="reconcile", persist_result=True, result_storage=RESULT_STORAGE)
def reconcile(source: str | None = None, dry_run: bool = False) -> int:
    """Compare Airbyte, lake, ledger and marts, and start what is missing; returns how much was found.

    In healthy times it finds nothing: any other figure means that events are being lost or runs fail.

    Args:
        source: look at this source only.
        dry_run: report, and start nothing.
    """
    freed = free_slots(dry_run)
    landed = find_unlanded(source, dry_run)
    unmerged = find_unmerged(source)
    unpublished = find_unpublished()
    report_freshness(source)
    if not dry_run:
        start_flows(unmerged, unpublished)
    return report_reconcile(freed, landed, unmerged, unpublished, dry_run)
