"""Gaps that reconcile finds: work that no run does, and objects or messages that a person must decide on."""

from typing import Literal, get_args

from millrace.domain.landing import Count
from millrace.domain.types import Frozen

Kind = Literal[
    "run without a process",
    "slot that no run holds",
    "sync without a manifest",
    "landing not merged",
    "open batch without a run",
    "merge not announced",
    "merge not published",
    "publication not announced",
    "publication not shown",
    "alert address out of date",
    "undelivered message",
    "object that no manifest names",
    "dead letter",
    "could not be done",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
FOR_PEOPLE: tuple[Kind, ...] = ("object that no manifest names", "dead letter")


class Gap(Frozen):
    """A difference between the expected and the actual state; `where` is a stream, a sync, a folder or a topic."""

    kind: Kind
    where: str
    count: Count = 1
    bytes: Count = 0
    detail: str = ""
    source: str = ""
    stream: str = ""
    job_id: int = 0


class ActiveWork(Frozen):
    """Work of active runs: streams being merged, sources being landed, syncs (source, job) being watched.

    `model` and `show`: a run of that flow is active.
    """

    streams: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    jobs: frozenset[tuple[str, int]] = frozenset()
    model: bool = False
    show: bool = False


def counts(gaps: list[Gap]) -> dict[Kind, int]:
    """Return the number of gaps of every kind, 0 included."""
    return {kind: sum(gap.count for gap in gaps if gap.kind == kind) for kind in KINDS}
