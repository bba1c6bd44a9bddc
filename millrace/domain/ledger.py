"""The ledger: one append-only row per fact about a batch or a model run."""

from datetime import datetime
from typing import Literal

from millrace.domain.landing import Count
from millrace.domain.types import Frozen

Kind = Literal[
    "merged",
    "announced",
    "published",
    "modelled",
    "redriven",
    "erased",
]


class LedgerEntry(Frozen):
    """One fact: a `published` entry names a merged batch that is in the marts; its `detail` is the candidate.

    An `erased` entry names keys that were erased: `rows_in` of them, of which `merged` had rows.
    A `modelled` entry names a published candidate; its `detail` is the digest of the dbt project that built it.
    """

    kind: Kind
    batch_id: str
    source: str
    stream: str
    run_id: str
    at: datetime
    rows_in: Count = 0
    merged: Count = 0
    superseded: Count = 0
    stale: Count = 0
    quarantined: Count = 0
    tombstoned_by_absence: Count = 0
    detail: str = ""


class Head(Frozen):
    """The state of a stream after its last commit, in one row; a commit advances `epoch` by one."""

    epoch: Count = 0
    batch_id: str = ""
    connection_epoch: Count = 0
    oldest_pending_day: str = ""
    floor: str = ""


def published_entry(batch: str, candidate: str, run: str, at: datetime) -> LedgerEntry:
    """Return the entry that records that a merged batch is in the marts."""
    return LedgerEntry(kind="published", batch_id=batch, source="", stream="", run_id=run, at=at, detail=candidate)


def announced_entry(
    batch: str, run: str, at: datetime, message_id: str, *, source: str = "", stream: str = ""
) -> LedgerEntry:
    """Return the entry that records that a merge, or a published candidate in place of a batch, was announced."""
    return LedgerEntry(
        kind="announced", batch_id=batch, source=source, stream=stream, run_id=run, at=at, detail=message_id
    )


def modelled_entry(candidate: str, project: str, run: str, at: datetime) -> LedgerEntry:
    """Return the entry that records the state of the dbt project that built the published candidate."""
    return LedgerEntry(kind="modelled", batch_id=candidate, source="", stream="", run_id=run, at=at, detail=project)


SHOWN_FILES = 20


class MergedFile(Frozen):
    """An object that a batch merged; `rows` is None when its footer could not be read."""

    object: str
    generation: int
    rows: Count | None


class MergedSync(Frozen):
    """The part of a batch from one sync (`job_id`): its files, its rows, and the first `SHOWN_FILES` files by name."""

    job_id: int
    files: Count
    rows: Count
    first: tuple[MergedFile, ...] = ()
