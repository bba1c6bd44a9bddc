"""The status page: a `Status` in, one HTML page without external resources out; pure.

One page is one object, so that it is a consistent snapshot. `:target` shows its sections, without a script.
"""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from millrace.domain.ledger import MergedSync
from millrace.status import formats, pictures
from millrace.status.types import BatchStatus, Status, SyncStatus

SHOWN_BATCHES = 30


def render(status: Status) -> str:
    """Return the page."""
    page = _environment().get_template("page.html.j2")
    return page.render(s=status, syncs=_syncs(status), shown=SHOWN_BATCHES)


def _syncs(status: Status) -> dict[tuple[str, int], tuple[SyncStatus | None, list[tuple[BatchStatus, MergedSync]]]]:
    """Return Airbyte's job and the batches with its files by source and job id, newest job first."""
    syncs: dict[tuple[str, int], tuple[SyncStatus | None, list[tuple[BatchStatus, MergedSync]]]] = {}
    for source in status.sources:
        for sync in source.syncs or ():
            syncs[source.source, sync.job_id] = (sync, [])
    for stream in status.streams:
        for batch in stream.batches[:SHOWN_BATCHES]:
            for part in batch.syncs or ():
                syncs.setdefault((stream.source, part.job_id), (None, []))[1].append((batch, part))
    return dict(sorted(syncs.items(), key=lambda item: (item[0][0], -item[0][1])))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("millrace.status"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(formats, name) for name in ("count", "size", "span", "when", "figure", "href")
    }
    environment.globals |= {
        "anchor": formats.anchor,
        "HEALTH": formats.HEALTH,
        "TERMS": pictures.TERMS,
        "pictures": pictures,
    }
    return environment
