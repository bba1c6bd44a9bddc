"""A stream in, all of its pending batches merged out: open, stage, commit, announce and close, without Prefect."""

from collections.abc import Callable
from datetime import datetime

from beam_job.announce import announce, merged_message
from beam_job.batches import Limits, close_batch, open_batch
from beam_job.commit import commit_batch
from beam_job.engines.options import Dataflow
from beam_job.stage import stage_batch
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance
from millrace.domain.errors import StreamBusy
from millrace.events.bus import EventBus
from millrace.lake.store import Lake
from millrace.warehouse.port import Warehouse


def merge_stream(
    lake: Lake,
    warehouse: Warehouse,
    bus: EventBus | None,
    contract: StreamContract,
    *,
    limits: Limits,
    run_id: str,
    clock: Callable[[], datetime],
    dataflow: Dataflow | None = None,
    full_scan: bool = False,
    is_held: Callable[[], bool] = lambda: True,
) -> list[Balance]:
    """Merge all pending manifests of a stream (with `full_scan`, however late); announce nothing without a bus.

    `is_held` says before each commit whether this process still has the stream's lease.

    Raises:
        StreamBusy: another process took the lease; the staged batch was not committed.
        HeadMoved: another process merged this stream.
        BalanceError: a batch does not add up; it was not committed.
    """
    balances = []
    while batch := open_batch(lake, warehouse, contract, limits=limits, now=clock(), full_scan=full_scan):
        staged = stage_batch(lake, contract, batch, dataflow)
        if not is_held():
            raise StreamBusy(
                f"{contract.id}: another process took over while batch {batch.id} was staged, as this one did not renew"
                " its lease in time; this one committed nothing, and the other merges what is pending"
            )
        balance = commit_batch(lake, warehouse, contract, batch, staged, run_id=run_id, at=clock())
        if bus:
            announce(bus, warehouse, merged_message(batch, balance), run_id=run_id, at=clock())
        close_batch(lake, batch)
        balances.append(balance)
    return balances
