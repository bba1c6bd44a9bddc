"""One merge of a stream at a time: a lease in the lake, which flows and the command line take alike.

The merge is right without it, as staging files are an attempt's own and a commit moves the head; the lease saves the
work of the one that would lose. A process that dies loses it when it runs out.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable, StreamBusy
from millrace.lake.store import Lake, ObjectExists, ObjectMissing

log = logging.getLogger(__name__)

LEASE_S = 60.0
POLL_S = 1.0
JSON = "application/json"


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass
class Lease:
    """A lease that a process holds; `generation` is that of the object it last wrote."""

    lake: Lake
    path: str
    holder: str
    seconds: float
    clock: Callable[[], datetime]
    generation: int = 0

    def write(self, over: int) -> bool:
        """Take or renew the lease over that generation of its object (0: over none); False when another has it."""
        until = self.clock() + timedelta(seconds=self.seconds)
        body = json.dumps({"holder": self.holder, "until": until.isoformat()}).encode()
        try:
            self.generation = self.lake.replace(self.path, body, over, JSON, {})
        except ObjectExists:
            return False
        return True

    def renew(self, ended: threading.Event) -> None:
        """Renew the lease until its holder is done."""
        while not ended.wait(self.seconds / 3):
            try:
                if not self.write(self.generation):
                    fields = {"lease": self.path, "holder": self.holder}
                    log.warning("lease.lost", extra={"event": "lease.lost", "fields": fields})
                    return
            except ServiceUnavailable as error:
                log.warning("lease.not_renewed: %s", error)

    def release(self) -> None:
        """Give the lease back; when the lake does not answer it runs out by itself."""
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
) -> Iterator[None]:
    """Hold the lease of a stream's merges.

    Args:
        lake: where the lease is kept.
        source: the stream's.
        stream: its name.
        holder: what others are told who holds it.
        wait_s: how long to wait for another's lease, in seconds.
        seconds: how long a lease holds that is not renewed; it is renewed at a third of that.
        clock: gives the time; hosts of which the clocks differ by more than a lease do not respect each other's.
        on_wait: is called with a sentence when another process holds it.

    Raises:
        StreamBusy: another process still holds it after `wait_s`.
    """
    lease = Lease(lake, names.merge_lease_path(source, stream), holder, seconds, clock)
    deadline, told = time.monotonic() + wait_s, False
    while busy := _take(lease):
        message = f"{source}.{stream} is merged by {busy}"
        if time.monotonic() >= deadline:
            raise StreamBusy(f"{message}; run this again when that has ended")
        if not told:
            on_wait(f"{message}; waiting up to {wait_s:.0f} s")
        told = True
        time.sleep(POLL_S)
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew, args=(ended,), name="merge-lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        lease.release()


def _take(lease: Lease) -> str:
    """Take a lease that no other process holds; else returns who holds it, and until when."""
    info = lease.lake.stat(lease.path)
    if info is None:
        return "" if lease.write(0) else "another process"
    try:
        body = json.loads(lease.lake.read(lease.path, info.generation))
        until, holder = datetime.fromisoformat(body["until"]), str(body["holder"])
    except ObjectMissing:
        return "another process"
    except (ValueError, KeyError, TypeError):
        until, holder = lease.clock(), "an unreadable lease"  # nobody of ours wrote it
    if until > lease.clock():
        return f"{holder} until {until:%H:%M:%S} UTC or longer"
    return "" if lease.write(info.generation) else "another process"
