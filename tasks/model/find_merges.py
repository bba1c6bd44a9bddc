"""Finds the merges in the ledger that the marts lack."""

from millrace.domain.model import KINDS, ModelWork, unpublished_work
from tasks.context import open_warehouse
from tasks.model.dbt import PROJECT, project_digest
from tasks.retries import uncached_task


@uncached_task(task_run_name="look for merges", retries=3)
def find_merges(full: bool) -> ModelWork | None:
    """Return the merges that no published marts include (with `full`, all merges); None without such merges."""
    ledger = open_warehouse().ledger(kinds=KINDS)
    return unpublished_work(ledger, full=full, project=project_digest(PROJECT))
