"""Ends runs that were active when the stack was stopped: `python -m local.stack.interrupted`, before any worker starts.

On one machine such runs have certainly ended; elsewhere Prefect detects them by missing heartbeats, minutes later.
"""

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Crashed

from tasks.reconcile.free_slots import leaked_slots, release

MESSAGE = "The stack was stopped during this run. Nothing is lost: reconcile finishes its work, or press Retry."


def end_interrupted(client: SyncPrefectClient) -> int:
    """Mark active runs as crashed and free their slots; return how many."""
    dead = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(
            {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
        )
    )
    for run in dead:
        client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
    release(client, leaked_slots(client))
    return len(dead)


def main() -> None:
    """End interrupted runs."""
    with get_client(sync_client=True) as client:
        print(f"{end_interrupted(client)} runs were interrupted")


if __name__ == "__main__":
    main()
