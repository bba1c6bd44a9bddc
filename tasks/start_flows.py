"""Starts the flows that events should have started."""

from prefect import task
from prefect.deployments import run_deployment

from contracts.model import ModelWork
from tasks.run_id import run_id


@task(task_run_name="start what is missing")
def start_flows(unmerged: dict[str, int], unpublished: ModelWork | None) -> int:
    """Start a merge per stream, and one model run; a retried run starts none twice. Returns how many."""
    for stream_id in unmerged:
        source, stream = stream_id.split(".")
        key = f"reconcile-{run_id()}-{stream_id}"
        run_deployment(
            "merge/merge", parameters={"source": source, "stream": stream}, timeout=0, idempotency_key=key,
            as_subflow=False,
        )  # fmt: skip
    if unpublished:
        run_deployment("model/model", timeout=0, idempotency_key=f"reconcile-{run_id()}-model", as_subflow=False)
    return len(unmerged) + bool(unpublished)
