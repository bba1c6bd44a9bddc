"""The status page in the lake: a newer state is never replaced by an older one, whoever writes at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable
from millrace.lake.store import Lake
from millrace.status.publish import collected_at, publish_page
from millrace.status.types import Status
from tests.support.shop_status import NOW, empty


class Clock:
    """A clock that advances by a second at each reading."""

    def __init__(self) -> None:
        self._now, self._lock = NOW, threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self._now += timedelta(seconds=1)
            return self._now


def test_older_state_never_replaces_a_newer_one(lake: Lake) -> None:
    clock, newer = Clock(), []

    def slow(at: datetime) -> Status:
        if not newer:  # while the first run collects, another starts later and is faster
            newer.append(publish_page(lake, empty_page, clock))
        return empty(at)

    def empty_page(at: datetime) -> Status:
        newer.append(at)
        return empty(at)

    publish_page(lake, slow, clock)
    page = lake.stat(names.STATUS_PAGE)
    assert page
    assert collected_at(page) == newer[0]
    assert f"of {newer[0].isoformat()}".encode() in lake.read(names.STATUS_PAGE)


def test_concurrent_runs_all_appear_on_the_page(lake: Lake) -> None:
    finished: list[int] = []

    def work(number: int) -> int:
        finished.append(number)
        return publish_page(lake, of_all, lambda: datetime.now(UTC))

    def of_all(at: datetime) -> Status:
        return empty(at).model_copy(update={"headline": " ".join(f"<{n}>" for n in sorted(finished))})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    page = lake.read(names.STATUS_PAGE).decode()
    assert [n for n in range(24) if f"&lt;{n}&gt;" not in page] == []


def test_page_losing_every_race_raises(lake: Lake) -> None:
    def overtaken(at: datetime) -> Status:
        lake.write(names.STATUS_PAGE, b"another's")
        return empty(at)

    with pytest.raises(ServiceUnavailable, match="the next run shows it"):
        publish_page(lake, overtaken, lambda: datetime.now(UTC))
    assert lake.read(names.STATUS_PAGE) == b"another's"
