"""Flows that end badly or last, for tests of what becomes of their pods or processes."""

import os
import signal
import time
from pathlib import Path

from prefect import flow


@flow
def raises() -> None:
    """Fails."""
    raise RuntimeError("as the test wants")


@flow
def lasts(seconds: int = 120, mark: str = "") -> str:
    """Takes long enough to be killed or cancelled; writes its process id to `mark`."""
    if mark:
        Path(mark).write_text(str(os.getpid()))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.1)
    return "through"


@flow
def exits() -> None:
    """Ends its process without a word to Prefect."""
    os._exit(7)


@flow
def kills_itself() -> None:
    """Ends as by the kernel."""
    os.kill(os.getpid(), signal.SIGKILL)


@flow
def allocates(gib: int) -> None:
    """Takes memory."""
    bytearray(gib * 2**30)
