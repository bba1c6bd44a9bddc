"""A model run: which merges it takes into the marts."""

from collections.abc import Iterable

from contracts.landing import Count
from contracts.ledger import LedgerEntry
from contracts.stream import Frozen


class ModelWork(Frozen):
    """Merged batches that are not in the marts yet."""

    batches: tuple[str, ...]
    streams: tuple[str, ...]
    rows: Count = 0


def unpublished(ledger: Iterable[LedgerEntry], *, full: bool = False) -> ModelWork | None:
    """The merges that no `published` entry names (with `full`, all merges); None when there are none.

    By batch, not by time: a commit may become visible after another that bears a later instant.
    """
    entries = list(ledger)
    published = set() if full else {e.batch_id for e in entries if e.kind == "published"}
    merged = [e for e in entries if e.kind == "merged" and e.batch_id not in published]
    if not merged:
        return None
    return ModelWork(
        batches=tuple(e.batch_id for e in merged),
        streams=tuple(sorted({f"{e.source}.{e.stream}" for e in merged})),
        rows=sum(e.merged for e in merged),
    )


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
    """The merges that no `announced` entry names, oldest first."""
    entries = list(ledger)
    announced = {e.batch_id for e in entries if e.kind == "announced"}
    return [e for e in entries if e.kind == "merged" and e.batch_id not in announced]


class QualityResult(Frozen):
    """One expectation on one mart."""

    suite: str
    expectation: str
    column: str = ""
    severity: str = "stop"
    success: bool
    observed: str = ""
    sample: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.suite}.{self.column}" if self.column else self.suite
        seen = f", saw {self.observed}" if self.observed else ""
        return f"{where}: {self.expectation}{seen}"
