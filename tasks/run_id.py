"""The id under which the ledger remembers a run."""

from prefect.runtime import flow_run


def run_id() -> str:
    """Id of the flow run that this task belongs to."""
    return str(flow_run.id)
