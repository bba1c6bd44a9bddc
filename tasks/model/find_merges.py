"""Finds the merges in the ledger that the marts lack."""

from collections.abc import Collection

from millrace.domain.model import ModelWork, model_work
from millrace.project import current_project
from tasks.context import open_warehouse
from tasks.model.dbt import project_digest
from tasks.retries import uncached_task


@uncached_task(task_run_name="look for merges", retries=3)
def find_merges(full: bool, tried: Collection[str] = ()) -> ModelWork | None:
    """Return the merges that no published marts include; None without such merges, or when all of them were tried.

    With `full`, return the work of all streams that were ever merged as well. `tried` are the pieces of work that this
    run has tried before.
    """
    warehouse = open_warehouse()
    unpublished, newest = warehouse.unpublished(), warehouse.newest_model()
    work = model_work(
        unpublished,
        built_by=newest.detail if newest else "",
        project=project_digest(current_project().dbt_project),
        full=warehouse.changed_streams() if full else (),
    )
    if work is None or (not full and work.pieces <= set(tried)):
        return None
    return work.model_copy(update={"after": newest.batch_id if newest else ""})
