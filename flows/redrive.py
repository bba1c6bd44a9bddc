"""Redrives quarantined objects of one stream, after a fix."""

from tasks.flow import millrace_flow
from tasks.reconcile.start_flows import start_merges
from tasks.upkeep.redrive_quarantine import redrive_quarantine


@millrace_flow(flow_run_name="redrive {source}.{stream}")
def redrive(source: str, stream: str, objects: list[str] | None = None) -> int:
    """Make quarantined objects pending again and start the merge; returns their number.

    Start it after you have fixed the contract or the object. Rows that were merged before stay unchanged.

    Args:
        source: name of a file in `sources/`, without `.yaml`.
        stream: one of its streams.
        objects: names of objects in the lake; by default all quarantined objects of the stream.
    """
    admitted = redrive_quarantine(source, stream, objects)
    if admitted:
        start_merges([f"{source}.{stream}"])
    return admitted
