"""The status page: a `Status` in, one HTML page out that asks no server for anything; pure.

One page is one object, so that what it shows is of one moment. Its parts are shown by `:target`, without a script.
"""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from millrace.domain.ledger import MergedSync
from millrace.status import pictures, words
from millrace.status.types import BatchStatus, Status, SyncStatus

SHOWN_BATCHES = 30


def render(status: Status) -> str:
    """The page."""
    page = _environment().get_template("page.html.j2")
    return page.render(s=status, syncs=_syncs(status), shown=SHOWN_BATCHES)


def _syncs(status: Status) -> dict[tuple[str, int], tuple[SyncStatus | None, list[tuple[BatchStatus, MergedSync]]]]:
    """By source and job, what Airbyte tells of it and the batches that took files of it, newest job first."""
    found: dict[tuple[str, int], tuple[SyncStatus | None, list[tuple[BatchStatus, MergedSync]]]] = {}
    for source in status.sources:
        for sync in source.syncs or ():
            found[source.source, sync.job_id] = (sync, [])
    for stream in status.streams:
        for batch in stream.batches[:SHOWN_BATCHES]:
            for part in batch.syncs or ():
                found.setdefault((stream.source, part.job_id), (None, []))[1].append((batch, part))
    return dict(sorted(found.items(), key=lambda item: (item[0][0], -item[0][1])))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("millrace.status"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {name: getattr(words, name) for name in ("count", "size", "span", "when", "figure", "href")}
    made.globals |= {"anchor": words.anchor, "HEALTH": words.HEALTH, "TERMS": pictures.TERMS, "pictures": pictures}
    return made
