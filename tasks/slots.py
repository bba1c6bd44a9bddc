"""One run at a time, by Prefect's global concurrency limits."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.concurrency.sync import concurrency

log = logging.getLogger(__name__)

WAIT_S = 1.0
LEASE_S = 60.0


@contextmanager
def slot(name: str, wait_s: float = WAIT_S) -> Iterator[bool]:
    """Hold the slot of that name; gives False when another run holds it after `wait_s` seconds.

    A run that dies loses the slot when its lease ends. Raises when no limit of that name is registered.
    """
    with ExitStack() as held:
        try:
            held.enter_context(concurrency(name, occupy=1, timeout_seconds=wait_s, strict=True, lease_duration=LEASE_S))
        except TimeoutError:
            log.info("run.handed_over", extra={"event": "run.handed_over", "fields": {"slot": name}})
            yield False
            return
        yield True
