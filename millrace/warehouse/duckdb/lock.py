"""A lock between processes on one file: one writer or many readers; it names its holder."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from millrace.domain.errors import WarehouseBusy

POLL_S = 0.05


@contextmanager
def hold(file: Path, purpose: str, timeout_s: float, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock; the kernel releases it when the process dies, however it dies.

    Raises:
        WarehouseBusy: another process holds it after `timeout_s`; the message names it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _try_lock(descriptor, shared=shared):
            if time.monotonic() > deadline:
                raise WarehouseBusy(
                    f"{purpose}: waited {timeout_s:.0f} s for {file.name.removesuffix('.lock')}; held by"
                    f" {_holder(descriptor)}. Wait for that process, or stop it; killing it loses no data"
                )
            time.sleep(POLL_S)
        _name_holder(descriptor, purpose)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, *, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name_holder(descriptor: int, purpose: str) -> None:
    text = json.dumps({"pid": os.getpid(), "purpose": purpose, "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"})
    os.pwrite(descriptor, text.encode().ljust(512), 0)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 512, 0))
    except ValueError:
        return "an unknown process"
    return f"process {holder['pid']} ({holder['purpose']}, since {holder['since']})"
