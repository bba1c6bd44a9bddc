"""Publishes that a batch was merged, then closes it."""

from datetime import UTC, datetime

from prefect import task

from beam_job.announce import announce
from beam_job.batches import close_batch
from blocks import MillraceEventBus, MillraceLake, MillraceWarehouse
from blocks import names as block_names
from contracts.batch import Balance, Batch
from tasks.retries import DELAYS_S, is_transient
from tasks.run_id import run_id
from tasks.source import stream_contract


@task(task_run_name="announce {batch.id}", retries=5, retry_delay_seconds=DELAYS_S, retry_condition_fn=is_transient)
def announce_merge(batch: Batch, balance: Balance) -> str:
    """Publish `warehouse-merged` and close the batch; returns the message's id.

    Raises:
        ServiceUnavailable: Pub/Sub did not take it; the batch stays open and the next run announces it.
    """
    message_id = announce(
        MillraceEventBus.load(block_names.EVENT_BUS).open(),
        MillraceWarehouse.load(block_names.WAREHOUSE).open(),
        stream_contract(batch.source, batch.stream),
        batch,
        balance,
        run_id=run_id(),
        at=datetime.now(UTC),
    )
    close_batch(MillraceLake.load(block_names.LAKE).open(), batch)
    return message_id
