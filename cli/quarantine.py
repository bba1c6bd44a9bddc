"""Streams in; their quarantined objects, and whether a redrive would merge them again, out."""

from collections.abc import Collection, Iterable

from beam_job.redrive import MAX_ATTEMPTS
from cli.platform import platform_warehouse
from cli.streams import sources
from millrace.contracts.source import find_source
from millrace.domain.errors import FileRejected
from millrace.domain.landing import Count
from millrace.domain.types import Frozen


class QuarantinedObject(Frozen):
    """A quarantined object; an exhausted one was merged so often that a redrive leaves it alone.

    `detail` says what is wrong with its first quarantined row, or with the file.
    """

    source: str
    stream: str
    object: str
    rows: Count
    reasons: str
    detail: str
    attempts: Count
    exhausted: bool


def quarantined_objects(streams: Iterable[tuple[str, str]], objects: Collection[str] = ()) -> list[QuarantinedObject]:
    """Return all quarantined objects of streams, or those named.

    Raises:
        FileRejected: a named object is not quarantined.
        WarehouseBusy: another process holds the warehouse.
    """
    contracts = sources()
    with platform_warehouse() as warehouse:
        quarantined = [
            QuarantinedObject(
                source=source,
                stream=stream,
                object=o.object,
                rows=o.rows,
                reasons=o.reasons,
                detail=o.detail,
                attempts=o.attempts,
                exhausted=o.attempts >= MAX_ATTEMPTS,
            )
            for source, stream in streams
            for o in warehouse.quarantined_objects(find_source(contracts, source).stream(stream))
        ]
    if unknown := set(objects) - {o.object for o in quarantined}:
        raise FileRejected(f"not quarantined: {', '.join(sorted(unknown))}; see `millrace redrive --dry-run`")
    return [o for o in quarantined if o.object in objects or not objects]
