"""Starts the flows that events should have started."""

from typing import Any

from prefect import task
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from contracts.errors import SettingsError
from tasks.run_id import run_id


@task(task_run_name="start what is missing")
def start_flows(unmerged: dict[str, int], unpublished: dict[str, int]) -> int:
    """Start a merge per stream, and one model run; a retried run starts none twice. Returns how many.

    Raises:
        SettingsError: a flow is not deployed.
    """
    for stream_id in unmerged:
        source, stream = stream_id.split(".")
        _start("merge/merge", stream_id, {"source": source, "stream": stream})
    if unpublished:
        _start("model/model", "model", {})
    return len(unmerged) + bool(unpublished)


def _start(deployment: str, what: str, parameters: dict[str, Any]) -> None:
    key = f"reconcile-{run_id()}-{what}"
    try:
        run_deployment(deployment, parameters=parameters, timeout=0, idempotency_key=key, as_subflow=False)
    except ObjectNotFound:
        raise SettingsError(f"no deployment {deployment}; run `python -m blocks.deploy`") from None
