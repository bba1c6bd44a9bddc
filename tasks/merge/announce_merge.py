"""Announces a merged batch on the event bus, then closes it."""

from datetime import UTC, datetime

from beam_job.announce import announce, merged_message
from beam_job.batches import close_batch
from millrace.domain.batch import Balance, Batch
from tasks.context import open_bus, open_lake, open_warehouse, run_id
from tasks.retries import transient_task


@transient_task(task_run_name="announce {batch.id}", retries=5)
def announce_merge(batch: Batch, balance: Balance) -> str:
    """Publish `warehouse-merged` and close the batch; returns the message's id.

    Raises:
        ServiceUnavailable: Pub/Sub did not accept it; the batch stays open and the next run announces it.
    """
    message = merged_message(batch, balance)
    message_id = announce(open_bus(), open_warehouse(), message, run_id=run_id(), at=datetime.now(UTC))
    close_batch(open_lake(), batch)
    return message_id
