"""Announces on the event bus that the marts were replaced."""

from datetime import UTC, datetime

from millrace.domain.events import MartsPublished
from millrace.domain.ledger import announced_entry
from tasks.context import open_bus, open_warehouse
from tasks.retries import uncached_task


@uncached_task(task_run_name="announce marts", retries=5)
def announce_marts() -> str:
    """Publish `marts-published` for the newest marts, whichever run published them; returns the message's id.

    Each announcement is in the ledger, so that the next run repeats a lost one; '' when all marts are announced.

    Raises:
        ServiceUnavailable: Pub/Sub did not accept it; the next run announces it.
    """
    warehouse = open_warehouse()
    newest = warehouse.unannounced_publication()
    if newest is None:
        return ""
    message = MartsPublished(run_id=newest.run_id, marts=warehouse.marts(), batches=newest.batches)
    message_id = open_bus().publish(message)
    warehouse.append(announced_entry(newest.candidate, newest.run_id, datetime.now(UTC), message_id))
    return message_id
