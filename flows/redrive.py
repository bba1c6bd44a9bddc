"""Lets quarantined objects of one stream be merged once more, after a fix."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from tasks.reconcile.start_flows import start_merges
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.redrive_quarantine import redrive_quarantine


@flow(
    flow_run_name="redrive {source}.{stream}",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure],
    on_completion=[tell_recovery],
)
def redrive(source: str, stream: str, objects: list[str] | None = None) -> int:
    """Let quarantined objects in again and start the merge; returns how many.

    Start it after the contract was mended, or the object was. What was merged before stays as it is.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        stream: one of its streams.
        objects: names of objects in the lake; all that are in quarantine when left out.
    """
    admitted = redrive_quarantine(source, stream, objects)
    if admitted:
        start_merges([f"{source}.{stream}"])
    return admitted
