"""What is in quarantine of some streams, and what a redrive would do with it."""

from collections.abc import Collection, Iterable

from beam_job.redrive import MAX_ATTEMPTS
from millrace.contracts.source import find_source, load_sources
from millrace.domain.errors import FileRejected
from millrace.domain.landing import Count
from millrace.domain.types import Frozen
from millrace.settings import load_settings
from millrace.settings.tree import ROOT
from millrace.warehouse.port import open_warehouse


class Refused(Frozen):
    """An object in quarantine; an exhausted one was merged so often that a redrive leaves it alone."""

    source: str
    stream: str
    object: str
    rows: Count
    reasons: str
    attempts: Count
    exhausted: bool


def refused_objects(streams: Iterable[tuple[str, str]], objects: Collection[str] = ()) -> list[Refused]:
    """Objects in quarantine of streams, or those named.

    Raises:
        FileRejected: a named object is not in quarantine.
        WarehouseBusy: another process holds the warehouse.
    """
    given, sources = load_settings().warehouse, load_sources(ROOT / "sources")
    warehouse = open_warehouse(
        given.url,
        given.marts_url,
        given.lock_timeout_s,
        given.keep_candidates_days,
        endpoint=given.endpoint,
        max_bytes_billed=given.max_bytes_billed,
    )
    try:
        found = [
            Refused(
                source=source,
                stream=stream,
                object=o.object,
                rows=o.rows,
                reasons=o.reasons,
                attempts=o.attempts,
                exhausted=o.attempts >= MAX_ATTEMPTS,
            )
            for source, stream in streams
            for o in warehouse.refused(find_source(sources, source).stream(stream))
        ]
    finally:
        warehouse.close()
    if unknown := set(objects) - {one.object for one in found}:
        raise FileRejected(f"not in quarantine: {', '.join(sorted(unknown))}; see `millrace redrive --dry-run`")
    return [one for one in found if one.object in objects or not objects]
