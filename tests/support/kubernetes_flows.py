"""Flows that end badly or last, for tests of what becomes of their pods."""

import time

from prefect import flow


@flow
def raises() -> None:
    """Fails."""
    raise RuntimeError("as the test wants")


@flow
def lasts(seconds: int = 120) -> str:
    """Takes long enough to be killed or cancelled."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.1)
    return "through"
