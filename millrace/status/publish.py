"""Keeps the newest status page in the lake: one object, replaced only by a page that was asked for later."""

from collections.abc import Callable
from datetime import UTC, datetime

from millrace.domain import names
from millrace.domain.errors import ServiceUnavailable
from millrace.lake.store import Lake, ObjectExists, ObjectInfo
from millrace.status.page import render
from millrace.status.types import Status

HTML = "text/html; charset=utf-8"
AT = "millrace-at"
TRIES = 6


def publish_page(lake: Lake, collect: Callable[[datetime], Status], now: Callable[[], datetime]) -> int:
    """Make the page show all that was true when this was called; returns how many times it was rendered for that.

    A page replaces only the one that stood before its questions were asked. Of many at once one is written; the others
    look whether it was asked after they were called, and if not, ask again: so none brings back an older state.

    Raises:
        ServiceUnavailable: others were faster every time, or the lake is away.
    """
    called = now()
    for rendered in range(TRIES):
        there = lake.stat(names.STATUS_PAGE)
        if there and asked_at(there) >= called:
            return rendered
        status = collect(now())
        try:
            lake.replace(
                names.STATUS_PAGE,
                render(status).encode(),
                there.generation if there else 0,
                HTML,
                {AT: status.at.isoformat()},
            )
        except ObjectExists:
            continue
        return rendered + 1
    raise ServiceUnavailable(
        f"{lake.url}/{names.STATUS_PAGE} was replaced by others {TRIES} times: the next run shows it"
    )


def asked_at(page: ObjectInfo) -> datetime:
    """When the questions of a page were asked; long ago for one that does not say."""
    try:
        return datetime.fromisoformat(page.metadata[AT])
    except (KeyError, ValueError):
        return datetime(1970, 1, 1, tzinfo=UTC)
