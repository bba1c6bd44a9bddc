"""Publishes the status page in the lake: one object, which only a later snapshot replaces."""

from collections.abc import Callable
from datetime import UTC, datetime

from millrace.domain import names
from millrace.domain.errors import ObjectExists, ServiceUnavailable
from millrace.lake.store import Lake, ObjectInfo
from millrace.status.page import render
from millrace.status.types import Status

HTML = "text/html; charset=utf-8"
AT = "millrace-at"
TRIES = 6


def publish_page(lake: Lake, collect: Callable[[datetime], Status], now: Callable[[], datetime]) -> int:
    """Publish a page that was collected after this call; returns the number of renderings, 0 if another call did it.

    A page replaces only the generation that was current before it was collected. Of concurrent calls one writes; each
    other one accepts that page if it was collected after its own call, else collects again. So no page becomes older.

    Raises:
        ServiceUnavailable: other calls wrote first every time, or the lake is unavailable.
    """
    called = now()
    for rendered in range(TRIES):
        current = lake.stat(names.STATUS_PAGE)
        if current and collected_at(current) >= called:
            return rendered
        status = collect(now())
        try:
            lake.replace(
                names.STATUS_PAGE,
                render(status).encode(),
                current.generation if current else 0,
                HTML,
                {AT: status.at.isoformat()},
            )
        except ObjectExists:
            continue
        return rendered + 1
    raise ServiceUnavailable(
        f"{lake.url}/{names.STATUS_PAGE} was replaced by other runs {TRIES} times: the next run shows it"
    )


def collected_at(page: ObjectInfo) -> datetime:
    """Return the time when a page was collected; 1970 for a page without that metadata."""
    try:
        return datetime.fromisoformat(page.metadata[AT])
    except (KeyError, ValueError):
        return datetime(1970, 1, 1, tzinfo=UTC)
