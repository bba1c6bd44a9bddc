"""Frees slots that no run holds: Prefect's server keeps leases in memory, but the slots in its database."""

import logging
from collections.abc import Iterator

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse

from millrace.domain.findings import Gap
from millrace.domain.names import MERGE_SLOTS, MODEL_SLOT, SHOW_SLOT, merge_slot
from millrace.observability.events import log_event
from tasks.retries import uncached_task

log = logging.getLogger(__name__)

PAGE = 200
SLOTS = {"model": MODEL_SLOT, "show": SHOW_SLOT}


@uncached_task(task_run_name="free slots", retries=2)
def free_slots(dry_run: bool) -> list[Gap]:
    """Free the slots that are taken although none of their runs is running, unless `dry_run`, and return them.

    Freeing one by mistake costs a retry at most: the head of a stream lets one committer win.
    """
    with get_client(sync_client=True) as client:
        leaked = leaked_slots(client)
        if not dry_run:
            release(client, leaked)
    return [Gap(kind="slot that no run holds", where=slot) for slot in leaked]


def leaked_slots(client: SyncPrefectClient) -> list[str]:
    """Return the names of the slots of merges, models and shows that are taken although no run of theirs is running."""
    taken = {limit.name for limit in _limits(client) if limit.active_slots}
    ours = {name for name in taken if name in SLOTS.values() or name.startswith(MERGE_SLOTS)}
    if not ours:
        return []
    merges = {merge_slot(run.parameters["source"], run.parameters["stream"]) for run in _running(client, "merge")}
    return sorted(ours - merges - {slot for flow, slot in SLOTS.items() if _running(client, flow)})


def release(client: SyncPrefectClient, slots: list[str]) -> None:
    """Make these slots available to the next run."""
    for name in slots:
        client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
        log_event(log, logging.WARNING, "slot.freed", slot=name)


def _limits(client: SyncPrefectClient) -> Iterator[GlobalConcurrencyLimitResponse]:
    offset = 0
    while page := client.read_global_concurrency_limits(limit=PAGE, offset=offset):
        yield from page
        offset += len(page)


def _running(client: SyncPrefectClient, flow: str) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": [flow]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}),
    )
