"""The ledger in; the work of a model run, and the publications and merges to announce, out."""

from collections.abc import Iterable

from millrace.domain.landing import Count
from millrace.domain.ledger import LedgerEntry
from millrace.domain.types import Frozen

CHANGES = ("merged", "erased")
KINDS = (*CHANGES, "published", "modelled")


class ModelWork(Frozen):
    """Merged batches that are not in the marts yet, and the streams whose rows they changed.

    With `whole` every mart is rebuilt from empty tables, else only the marts that depend on the streams.
    """

    batches: tuple[str, ...]
    streams: tuple[str, ...]
    rows: Count = 0
    whole: bool = False

    def combine(self, later: "ModelWork | None") -> "ModelWork":
        """Return this work and the later work as one."""
        if later is None:
            return self
        added = {
            "batches": tuple(dict.fromkeys((*self.batches, *later.batches))),
            "streams": tuple(sorted({*self.streams, *later.streams})),
        }
        return self.model_copy(update=added)


def unpublished_work(ledger: Iterable[LedgerEntry], *, full: bool = False, project: str = "") -> ModelWork | None:
    """Return the merges that no `published` entry names (with `full`, all merges); None when there are none.

    Erasures count as merges. Entries are matched by batch, not by time: a commit may become visible after another one
    with a later time. Every mart is built when none was published yet, or when the published ones come from another
    state of the dbt project (`project` is the digest of the present one; '' skips this check).
    """
    entries = list(ledger)
    published = set() if full else {e.batch_id for e in entries if e.kind == "published"}
    merged = [e for e in entries if e.kind in CHANGES and e.batch_id not in published]
    if not merged:
        return None
    built_by = next((e.detail for e in reversed(entries) if e.kind == "modelled"), "")
    return ModelWork(
        batches=tuple(e.batch_id for e in merged),
        streams=tuple(sorted({f"{e.source}.{e.stream}" for e in merged if e.merged or e.tombstoned_by_absence})),
        rows=sum(e.merged for e in merged),
        whole=full or (bool(project) and built_by != project),
    )


class BuiltCandidate(Frozen):
    """A candidate: the work that it contains, and its rebuilt marts; its other marts are the published ones."""

    candidate: str
    work: ModelWork
    marts: tuple[str, ...]


class Publication(Frozen):
    """A candidate that a model run published, and the number of merges that it contains."""

    candidate: str
    run_id: str
    batches: Count


def unannounced_publication(ledger: Iterable[LedgerEntry]) -> Publication | None:
    """Return the newest publication unless an `announced` entry names its candidate; older ones are not announced."""
    entries = list(ledger)
    published = [e for e in entries if e.kind == "published" and e.detail]
    if not published:
        return None
    newest = published[-1]
    if any(e.kind == "announced" and e.batch_id == newest.detail for e in entries):
        return None
    batches = sum(e.detail == newest.detail for e in published)
    return Publication(candidate=newest.detail, run_id=newest.run_id, batches=batches)


def unannounced_merges(ledger: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """Return the merges and erasures that no `announced` entry names, oldest first."""
    entries = list(ledger)
    announced = {e.batch_id for e in entries if e.kind == "announced"}
    return [e for e in entries if e.kind in CHANGES and e.batch_id not in announced]
