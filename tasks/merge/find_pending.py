"""Compares the lake with the ledger: True out when a stream has work for a merge."""

from beam_job.batches import pending
from tasks.context import open_lake, open_warehouse, stream_contract
from tasks.retries import uncached_task


@uncached_task(task_run_name="look for landings of {source}.{stream}", retries=3)
def has_pending(source: str, stream: str, full_scan: bool = False) -> bool:
    """Return True when a stream has manifests that the ledger lacks, or an open batch.

    With `full_scan` all manifests are listed, however late one arrived.

    Raises:
        UnknownStream: no such source or stream.
    """
    contract = stream_contract(source, stream)
    lake = open_lake()
    return bool(pending(lake, open_warehouse(), contract, full_scan=full_scan))
