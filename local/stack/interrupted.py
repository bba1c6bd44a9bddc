"""Ends what was running when the stack was ended: `python -m local.stack.interrupted`, before any worker starts.

On a machine of its own the platform knows that such runs are dead; elsewhere missing heartbeats tell, minutes later.
"""

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Crashed

from tasks.reconcile.free_slots import leaked_slots, release

MESSAGE = "The stack was ended while this ran. Nothing is lost: what is left is picked up by reconcile, or press Retry."


def end_interrupted(client: SyncPrefectClient) -> int:
    """Mark runs without a process as crashed, and free their slots; returns how many."""
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
    """End them."""
    with get_client(sync_client=True) as client:
        print(f"{end_interrupted(client)} runs were interrupted")


if __name__ == "__main__":
    main()
