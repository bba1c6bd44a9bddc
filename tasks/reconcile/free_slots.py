"""Frees slots that no run holds any more: Prefect's server may forget a lease, but not that a slot is taken."""

import logging
from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse

from millrace.domain.findings import Found
from millrace.domain.names import MERGE_SLOTS, MODEL_SLOT, merge_slot
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)

PAGE = 200


@task(
    task_run_name="free slots",
    retries=2,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def free_slots(dry_run: bool) -> list[Found]:
    """Slots that are taken though no run of theirs is running, freed now unless `dry_run`.

    Freeing one by mistake costs a retry at most: the head of a stream lets one committer win.
    """
    with get_client(sync_client=True) as client:
        leaked = leaked_slots(client)
        if not dry_run:
            release(client, leaked)
    return [Found(kind="slot that no run holds", where=slot) for slot in leaked]


def leaked_slots(client: SyncPrefectClient) -> list[str]:
    """Names of the merge and model slots that are taken, and whose runs are not running."""
    taken = {limit.name for limit in _limits(client) if limit.active_slots}
    ours = {name for name in taken if name == MODEL_SLOT or name.startswith(MERGE_SLOTS)}
    if not ours:
        return []
    running = client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": ["merge", "model"]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}),
    )
    return sorted(ours - {_slot_of(run) for run in running})


def release(client: SyncPrefectClient, slots: list[str]) -> None:
    """Let the next run have these slots."""
    for name in slots:
        client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
        log.warning("slot.freed", extra={"event": "slot.freed", "fields": {"slot": name}})


def _limits(client: SyncPrefectClient) -> Iterator[GlobalConcurrencyLimitResponse]:
    offset = 0
    while page := client.read_global_concurrency_limits(limit=PAGE, offset=offset):
        yield from page
        offset += len(page)


def _slot_of(run: FlowRun) -> str:
    given = run.parameters
    return merge_slot(given["source"], given["stream"]) if "stream" in given else MODEL_SLOT
