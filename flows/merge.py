"""Merges what landed of one stream into the warehouse, exactly once."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from millrace.domain.batch import Balance, Batch
from tasks.merge.announce_merge import announce_merge
from tasks.merge.cancel_dataflow import cancel_dataflow
from tasks.merge.commit_batch import commit_batch
from tasks.merge.find_pending import has_pending
from tasks.merge.open_batch import open_batch
from tasks.merge.stage_batch import stage_batch
from tasks.say_done import say_about, say_merged
from tasks.show_status import show_failure, show_status
from tasks.slots import merge_turn
from tasks.tell import tell_failure, tell_recovery


@flow(
    flow_run_name="merge {source}.{stream}",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure, show_failure],
    on_completion=[tell_recovery],
    on_cancellation=[cancel_dataflow],
)
def merge(source: str, stream: str, audit: bool = False) -> int:
    """Merge everything that is pending of one stream; returns the number of batches.

    Asks the lake and the ledger what is pending, whatever event started it. One merge per stream runs at a time: a
    run that finds another at work hands over to it, and that one looks again when it is done.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        stream: one of its streams.
        audit: look at all manifests of the stream, also at those that came more than 7 days late.
    """
    merged: list[tuple[Batch, Balance]] = []
    say_about(source, f"{source}.{stream}")
    while has_pending(source, stream, audit):
        with merge_turn(source, stream) as acquired:
            if not acquired:
                break
            while batch := open_batch(source, stream, audit):
                if balance := commit_batch(batch, stage_batch(batch)):  # else another committer was first
                    announce_merge(batch, balance)
                    merged.append((batch, balance))
    if merged:
        say_merged(merged)
        show_status(return_state=True)  # a page that is missing holds nothing back
    return len(merged)
