"""One run at a time, by Prefect's global concurrency limits."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

log = logging.getLogger(__name__)

WAIT_S = 5.0
LEASE_S = 60.0


@contextmanager
def slot(name: str, wait_s: float = WAIT_S) -> Iterator[bool]:
    """Hold the slot of that name; gives False when another run holds it.

    A run that dies loses the slot when its lease ends. Raises when no limit of that name is registered.
    """
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(
                    concurrency(name, occupy=1, timeout_seconds=wait_s, strict=True, lease_duration=LEASE_S)
                )
                break
            except TimeoutError:
                if is_taken(name):
                    log.info("run.handed_over", extra={"event": "run.handed_over", "fields": {"slot": name}})
                    yield False
                    return
        yield True


def is_taken(name: str) -> bool:
    """Whether a run holds the slot: a busy server may also be late to give a free one."""
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).active_slots > 0
