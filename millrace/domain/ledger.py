"""The ledger: one append-only row per fact about a batch or a model run."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
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
CHANGES: tuple[Kind, ...] = ("merged", "erased")
EVER = datetime(1, 1, 1, tzinfo=UTC)
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
CLOCKS_APART = timedelta(days=1)
"""The time of a fact is that of the process that wrote it; a search by a batch's time begins this much earlier."""


class LedgerEntry(Frozen):
    """One fact: a `published` entry names a merged batch that is in the marts; its `detail` is the candidate.

    An `erased` entry names keys that were erased: `rows_in` of them, of which `merged` had rows.
    A `redriven` entry names an object that is merged once more: its `rows_in`, of which `quarantined` were left out
    before; both are 0 in an entry that an older version of the platform wrote.
    A `modelled` entry names a published candidate; its `detail` is the digest of the dbt project that built it, then
    the parts of it that were refused and are still of an older state.
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


def modelled_entry(candidate: str, project: str, run: str, at: datetime, owed: Iterable[str] = ()) -> LedgerEntry:
    """Return the entry that records the state of the dbt project that built the published candidate, but for `owed`."""
    detail = " ".join([project, *owed])
    return LedgerEntry(kind="modelled", batch_id=candidate, source="", stream="", run_id=run, at=at, detail=detail)


def built_state(detail: str) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a `modelled` entry's detail, and the names of the parts that it lacks."""
    digest, *owed = detail.split(" ")
    return digest, tuple(owed)


def redriven_entry(
    stream: tuple[str, str], redriven: tuple[str, str, int], counts: tuple[int, int], run: str, at: datetime
) -> LedgerEntry:
    """Return the entry that records that an object is merged once more.

    Args:
        stream: source and stream.
        redriven: manifest, object and generation.
        counts: the object's rows, and those of them in quarantine.
        run: id of the run that admits it.
        at: the time.
    """
    manifest, name, generation = redriven
    return LedgerEntry(
        kind="redriven",
        batch_id=f"{name}#{generation}",
        source=stream[0],
        stream=stream[1],
        run_id=run,
        at=at,
        rows_in=max(counts),
        quarantined=counts[1],
        detail=manifest,
    )


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
