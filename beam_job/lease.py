"""A stream in, a lease on its merges out: an object in the lake, which flows and the command line both take.

The merge is correct without it, as each attempt has its own staging files and a commit moves the head; the lease saves
the work that would be lost. The lease of a process that dies expires.
"""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from millrace.domain import names
from millrace.domain.errors import ObjectExists, ObjectMissing, ServiceUnavailable, StreamBusy
from millrace.lake.store import Lake
from millrace.observability.events import log_event

log = logging.getLogger(__name__)

LEASE_S = 60.0
POLL_S = 1.0
JSON = "application/json"


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass
class Lease:
    """A lease that a process holds; `generation` is that of the object it wrote last, and `token` marks its objects."""

    lake: Lake
    path: str
    holder: str
    seconds: float
    clock: Callable[[], datetime]
    generation: int = 0
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    writing: threading.Lock = field(default_factory=threading.Lock)

    def write(self, over: int) -> bool:
        """Take or renew the lease if its object has the generation `over` (0: none); return False if another has it."""
        until = self.clock() + timedelta(seconds=self.seconds)
        body = json.dumps({"holder": self.holder, "until": until.isoformat(), "token": self.token}).encode()
        try:
            self.generation = self.lake.replace(self.path, body, over, JSON, {})
        except ObjectExists:
            return self._adopt()
        return True

    def _adopt(self) -> bool:
        """Return whether the object is this lease's own: the answer to an earlier write may have been lost."""
        info = self.lake.stat(self.path)
        try:
            own = info is not None and self.token.encode() in self.lake.read(self.path, info.generation)
        except ObjectMissing:
            return False
        if info and own:
            self.generation = info.generation
        return own

    def is_held(self) -> bool:
        """Renew the lease; return False if another process took it, as a process that paused for too long finds out."""
        with self.writing:
            held = self.write(self.generation)
        if not held:
            log_event(log, logging.WARNING, "lease.lost", lease=self.path, holder=self.holder)
        return held

    def renew(self, ended: threading.Event) -> None:
        """Renew the lease until `ended` is set."""
        while not ended.wait(self.seconds / 3):
            try:
                if not self.is_held():
                    return
            except ServiceUnavailable as error:
                log.warning("lease.not_renewed: %s", error)

    def release(self) -> None:
        """Release the lease; if the lake does not answer, the lease expires."""
        try:
            self.lake.delete(self.path, self.generation)
        except ServiceUnavailable as error:
            log.warning("lease.not_released: %s", error)


@contextmanager
def merge_lease(
    lake: Lake,
    source: str,
    stream: str,
    holder: str,
    *,
    wait_s: float = 0.0,
    seconds: float = LEASE_S,
    clock: Callable[[], datetime] = now,
    on_wait: Callable[[str], None] = log.info,
) -> Iterator[Lease]:
    """Hold the lease of a stream's merges; ask it before a commit whether it is still held.

    Args:
        lake: the lake that stores the lease.
        source: the source of the stream.
        stream: name of the stream.
        holder: name of the holder, which messages of other processes show.
        wait_s: the time to wait for another process's lease, in seconds.
        seconds: the time until a lease expires; it is renewed after a third of it.
        clock: returns the time; the clocks of all hosts must differ by less than a lease.
        on_wait: is called with a message while another process holds the lease.

    Raises:
        StreamBusy: another process still holds it after `wait_s`.
    """
    lease = Lease(lake, names.merge_lease_path(source, stream), holder, seconds, clock)
    deadline, reported = time.monotonic() + wait_s, False
    while busy := _take(lease):
        message = f"{source}.{stream} is merged by {busy}"
        if time.monotonic() >= deadline:
            raise StreamBusy(f"{message}; run this again when that merge has ended")
        if not reported:
            on_wait(f"{message}; waiting up to {wait_s:.0f} s")
        reported = True
        time.sleep(POLL_S)  # the lake sends no notification when a lease ends
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew, args=(ended,), name="merge-lease", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        ended.set()
        renewing.join()
        lease.release()


def _take(lease: Lease) -> str:
    """Take the lease if no other process holds it; otherwise return its holder and the time until it expires."""
    info = lease.lake.stat(lease.path)
    if info is None:
        return "" if lease.write(0) else "another process"
    try:
        body = json.loads(lease.lake.read(lease.path, info.generation))
        until, holder = datetime.fromisoformat(body["until"]), str(body["holder"])
    except ObjectMissing:
        return "another process"
    except (ValueError, KeyError, TypeError):
        until, holder = lease.clock(), "an unreadable lease"  # Millrace did not write it
    if until > lease.clock():
        return f"{holder} until {until:%H:%M:%S} UTC or longer"
    return "" if lease.write(info.generation) else "another process"
