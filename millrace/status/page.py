"""The status page: a `Status` in, one HTML page without external resources out; pure.

One page is one object, so that it is a consistent snapshot. `:target` shows its sections; a script shows only its age.
"""

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from millrace.domain.ledger import MergedSync
from millrace.domain.remedies import Remedy, rooted
from millrace.status import formats, pictures
from millrace.status.types import BatchStatus, Status, SyncStatus

SHOWN_BATCHES = 30
OLD_S = 2400
"""The age in seconds from which the page calls itself out of date: `reconcile` renders it every 15 minutes."""
OLD = f"This page is out of date: nothing has rendered it since. The platform may be down; run `{Remedy.DOCTOR}`"


def render(status: Status) -> str:
    """Return the page."""
    page, script = _environment().get_template("page.html.j2"), _script()
    return page.render(
        s=status,
        syncs=_syncs(status),
        shown=SHOWN_BATCHES,
        limit_s=OLD_S,
        old_text=rooted(OLD, status.links.command),
        script=Markup(script),  # noqa: S704  our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@lru_cache(maxsize=1)
def _script() -> str:
    """Return the script that shows the page's age; the page's policy allows this one only, by its hash."""
    return files("millrace.status").joinpath("templates", "age.js").read_text()


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
    } | {"rooted": rooted}
    environment.globals |= {
        "anchor": formats.anchor,
        "HEALTH": formats.HEALTH,
        "TERMS": pictures.TERMS,
        "pictures": pictures,
    }
    return environment
