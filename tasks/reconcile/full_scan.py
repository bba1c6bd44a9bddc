"""Schedules the full scans of reconcile, which compare all of the past instead of the last days."""

from datetime import UTC, datetime, timedelta

from millrace.domain.names import LAST_FULL_SCAN
from millrace.settings import load_settings
from tasks.context import open_lake
from tasks.retries import uncached_task


@uncached_task(task_run_name="look when all was audited", retries=2)
def is_full_scan_due() -> bool:
    """Return True when the last full scan is `reconcile.audit_every_h` ago, or there was none."""
    last = open_lake().stat(LAST_FULL_SCAN)
    return last is None or last.updated < datetime.now(UTC) - timedelta(hours=load_settings().reconcile.audit_every_h)


@uncached_task(task_run_name="note the audit", retries=2)
def note_full_scan() -> None:
    """Record that a full scan has ended now."""
    open_lake().write(LAST_FULL_SCAN, b"")
