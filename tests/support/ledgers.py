"""Ledgers of random facts, and what is open in them by definition: each fact is compared with each other one."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from millrace.domain.ledger import CHANGES, Kind, LedgerEntry
from millrace.domain.model import Publication


def fact(kind: Kind, batch: str, at: datetime, *, detail: str = "", run: str = "r", stream: str = "") -> LedgerEntry:
    return LedgerEntry(
        kind=kind,
        batch_id=batch,
        source="shop" if stream else "",
        stream=stream,
        run_id=run,
        at=at,
        detail=detail,
        merged=int(kind in CHANGES),
    )


def random_ledger(rng: random.Random, begin: datetime, steps: int) -> list[LedgerEntry]:
    """Merges, announcements and publications over weeks, some missing and some twice, in the order of their writing."""
    ledger: list[LedgerEntry] = []
    waiting: list[str] = []
    for number in range(steps):
        at = begin + timedelta(hours=9 * number, minutes=rng.randint(-60, 60))
        kind: Kind = rng.choice(("merged", "merged", "merged", "erased"))
        batch = f"b{number}"
        ledger.append(fact(kind, batch, at, stream=rng.choice(("orders", "items"))))
        waiting.append(batch)
        if rng.random() < 0.9:
            ledger.append(fact("announced", batch, at, detail=f"m{number}"))
        if rng.random() < 0.4:
            candidate, taken = f"c{number}", [b for b in waiting if rng.random() < 0.95]
            ledger += [fact("published", b, at, detail=candidate, run=candidate) for b in taken]
            ledger.append(fact("modelled", candidate, at, detail=f"p{number}", run=candidate))
            waiting = [b for b in waiting if b not in taken or rng.random() < 0.02]
            if rng.random() < 0.7:
                ledger.append(fact("announced", candidate, at, detail="m", run=candidate))
    return ledger


def without(ledger: Sequence[LedgerEntry], kind: Kind) -> list[LedgerEntry]:
    """The merges and erasures that no fact of a kind names."""
    named = {e.batch_id for e in ledger if e.kind == kind}
    return [e for e in ledger if e.kind in CHANGES and e.batch_id not in named]


def newest_publication(ledger: Sequence[LedgerEntry]) -> Publication | None:
    """The newest publication, unless its candidate was announced."""
    facts = [e for e in ledger if (e.kind == "published" and e.detail) or e.kind == "modelled"]
    if not facts:
        return None
    newest = facts[-1]
    candidate = newest.detail if newest.kind == "published" else newest.batch_id
    if any(e.kind == "announced" and e.batch_id == candidate for e in ledger):
        return None
    own = [e for e in facts if candidate in (e.detail, e.batch_id)]
    batches = sum(e.kind == "published" for e in own)
    return Publication(candidate=candidate, run_id=newest.run_id, batches=batches, at=min(e.at for e in own))
