"""Moves the instant at which searches of the ledger begin, so that their cost follows the open work, not the past."""

from datetime import UTC, datetime

from millrace.domain.ledger import EVER
from millrace.warehouse.settled import settled_before
from tasks.context import open_warehouse
from tasks.retries import uncached_task


@uncached_task(task_run_name="settle the ledger", retries=2)
def settle_ledger() -> list[str]:
    """Let searches begin at the oldest open fact, or three days ago if that is earlier; return that instant."""
    warehouse = open_warehouse()
    before = settled_before(warehouse, datetime.now(UTC))
    warehouse.settle(before)
    return [before.isoformat()]


@uncached_task(task_run_name="search the whole ledger", retries=2)
def unsettle_ledger() -> list[str]:
    """Let searches read the whole ledger, as a full scan does; return the instant at which they begin."""
    open_warehouse().settle(EVER)
    return [EVER.isoformat()]
