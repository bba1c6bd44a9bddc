"""Merges the landed files of one stream into the warehouse, exactly once."""

from millrace.domain.batch import Balance, Batch
from tasks.flow import millrace_flow
from tasks.merge.announce_merge import announce_merge
from tasks.merge.cancel_dataflow import cancel_dataflow
from tasks.merge.commit_batch import commit_batch
from tasks.merge.find_pending import has_pending
from tasks.merge.open_batch import open_batch
from tasks.merge.stage_batch import stage_batch
from tasks.name_run import name_run_after_merge, tag_run
from tasks.slots import merge_turn


@millrace_flow(
    flow_run_name="merge {source}.{stream}", shows_failure=True, pausable=True, on_cancellation=[cancel_dataflow]
)
def merge(source: str, stream: str, full_scan: bool = False) -> int:
    """Merge everything that is pending of one stream; returns the number of batches.

    Lake and ledger decide what is pending, whichever event started the run. One merge per stream runs at a time: a run
    that finds another one active ends, and the active one looks for pending landings again before it ends.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        stream: one of its streams.
        full_scan: list all manifests of the stream, also those that arrived more than 7 days late.
    """
    merged: list[tuple[Batch, Balance]] = []
    tag_run(source, f"{source}.{stream}")
    while has_pending(source, stream, full_scan):
        with merge_turn(source, stream) as lease:
            if not lease:
                break
            while batch := open_batch(source, stream, full_scan):
                staged = stage_batch(batch)
                if not lease.is_held():
                    break
                if balance := commit_batch(batch, staged):  # else another committer was first
                    announce_merge(batch, balance)
                    merged.append((batch, balance))
    if merged:
        name_run_after_merge(merged)
    return len(merged)
