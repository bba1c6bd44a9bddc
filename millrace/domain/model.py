"""A model run: which merges it takes into the marts, and what it builds."""

from collections.abc import Iterable

from millrace.domain.landing import Count
from millrace.domain.ledger import LedgerEntry
from millrace.domain.types import Frozen

CHANGES = ("merged", "erased")
KINDS = (*CHANGES, "published", "modelled")


class ModelWork(Frozen):
    """Merged batches that are not in the marts yet, and the streams whose rows they changed.

    With `whole` every mart is built from nothing, else those that the streams affect.
    """

    batches: tuple[str, ...]
    streams: tuple[str, ...]
    rows: Count = 0
    whole: bool = False

    def joined(self, later: "ModelWork | None") -> "ModelWork":
        """This work and what was merged since it was found."""
        if later is None:
            return self
        added = {
            "batches": tuple(dict.fromkeys((*self.batches, *later.batches))),
            "streams": tuple(sorted({*self.streams, *later.streams})),
        }
        return self.model_copy(update=added)


def unpublished(ledger: Iterable[LedgerEntry], *, full: bool = False, project: str = "") -> ModelWork | None:
    """The merges that no `published` entry names (with `full`, all merges); None when there are none.

    Erasures count as merges.

    By batch, not by time: a commit may become visible after another that bears a later instant. All is built when
    nothing was published yet, or not from this state of the dbt project (`project` is its digest, '' when not asked).
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


class Built(Frozen):
    """A candidate: the work that is in it, and the marts that were built anew; others are as they were published."""

    candidate: str
    work: ModelWork
    marts: tuple[str, ...]


class Publication(Frozen):
    """Marts that a model run published: the candidate they were, and how many merges they took in."""

    candidate: str
    run_id: str
    batches: Count


def unannounced(ledger: Iterable[LedgerEntry]) -> Publication | None:
    """The newest publication, when no `announced` entry names its candidate; older ones are of no interest any more."""
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
    """The merges and erasures that no `announced` entry names, oldest first."""
    entries = list(ledger)
    announced = {e.batch_id for e in entries if e.kind == "announced"}
    return [e for e in entries if e.kind in CHANGES and e.batch_id not in announced]
