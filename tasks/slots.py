"""Mutual exclusion of runs, by Prefect's global concurrency limits."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

from beam_job.lease import Lease, merge_lease
from millrace.domain import names
from millrace.domain.errors import StreamBusy
from millrace.observability.events import log_event
from tasks.context import open_lake, run_id

log = logging.getLogger(__name__)

WAIT_S = 5.0
LEASE_S = 60.0


@contextmanager
def slot(name: str, wait_s: float = WAIT_S) -> Iterator[bool]:
    """Hold the slot of that name; yields False when another run holds it.

    A run that dies loses the slot when its lease expires. Raises when no limit of that name is registered.
    """
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(
                    concurrency(name, occupy=1, timeout_seconds=wait_s, strict=True, lease_duration=LEASE_S)
                )
                break
            except TimeoutError:
                if is_taken(name):
                    log_event(log, logging.INFO, "run.handed_over", slot=name)
                    yield False
                    return
        yield True


@contextmanager
def merge_turn(source: str, stream: str) -> Iterator[Lease | None]:
    """Hold the slot and the lease of a stream's merges; yields None when another run, or a command line, holds one."""
    with slot(names.merge_slot(source, stream)) as acquired, ExitStack() as stack:
        lease = None
        if acquired:
            try:
                lease = stack.enter_context(merge_lease(open_lake(), source, stream, f"flow run {run_id()}"))
            except StreamBusy as error:
                log_event(log, logging.INFO, "run.handed_over", stream=f"{source}.{stream}", why=str(error))
        yield lease


def is_taken(name: str) -> bool:
    """Return True when a run holds the slot: an overloaded server may also time out on a free one."""
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).active_slots > 0
