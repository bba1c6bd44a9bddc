"""Merges that no marts include in; the work of a model run, as a type, out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from millrace.domain.landing import Count
from millrace.domain.ledger import LedgerEntry, built_state
from millrace.domain.parts import Part, RefusedPart
from millrace.domain.types import Frozen


class ModelWork(Frozen):
    """Merged batches that are not in the marts yet, and the streams whose rows they changed.

    With `whole` every mart is rebuilt from empty tables, else only the marts that depend on the streams. With `full`
    all rows of the streams are checked before, else only those that the batches wrote. `owed` are the names of parts
    that are rebuilt as well, as they were refused when every mart was. `after` is the newest published candidate.
    """

    batches: tuple[str, ...]
    streams: tuple[str, ...]
    rows: Count = 0
    whole: bool = False
    full: bool = False
    owed: tuple[str, ...] = ()
    after: str = ""

    def combine(self, later: "ModelWork | None") -> "ModelWork":
        """Return this work and the later work as one."""
        if later is None:
            return self
        added = {
            "batches": tuple(dict.fromkeys((*self.batches, *later.batches))),
            "streams": tuple(sorted({*self.streams, *later.streams})),
        }
        return self.model_copy(update=added)

    def without(self, streams: Collection[str], stream_of: Mapping[str, str]) -> "ModelWork":
        """Return this work without some streams; `stream_of` has the stream of each batch."""
        kept = {
            "batches": tuple(batch for batch in self.batches if stream_of.get(batch) not in streams),
            "streams": tuple(stream for stream in self.streams if stream not in streams),
        }
        return self.model_copy(update=kept)

    @property
    def pieces(self) -> frozenset[str]:
        """Return what the work consists of: its batches, and the parts that are owed."""
        return frozenset((*self.batches, *self.owed))


def model_work(
    unpublished: Iterable[LedgerEntry], *, built_by: str = "", project: str = "", full: Sequence[str] = ()
) -> ModelWork | None:
    """Return the work of a model run: the merges and erasures that no marts include; None when there is none.

    Every mart is built when the published ones come from another state of the dbt project, or when none was published
    yet (`built_by` is the detail of the newest `modelled` entry, `project` the digest of the present state; '' skips
    this check). `full` are the streams of a full run, which has work even if nothing is unpublished; so has a run that
    owes a part its build.
    """
    merged = list(unpublished)
    digest, owed = built_state(built_by)
    owed = owed if digest == project else ()
    if not merged and not full and not owed:
        return None
    changed = {f"{e.source}.{e.stream}" for e in merged if e.merged or e.tombstoned_by_absence}
    return ModelWork(
        batches=tuple(e.batch_id for e in merged),
        streams=tuple(sorted(changed | set(full))),
        rows=sum(e.merged for e in merged),
        whole=bool(full) or (bool(project) and digest != project),
        full=bool(full),
        owed=owed,
    )


class BuiltCandidate(Frozen):
    """A candidate: the work that it contains, and its rebuilt marts; its other marts are the published ones.

    `refused` are parts of the dbt project whose marts stay as they are published, and whose batches are not in `work`.
    `stream_of` has the stream of each batch, and `project` is the digest of the dbt project that built the candidate.
    """

    candidate: str
    work: ModelWork
    marts: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    refused: tuple[RefusedPart, ...] = ()
    stream_of: dict[str, str] = {}  # noqa: RUF012  pydantic copies defaults
    project: str = ""

    def refuse(self, refused: Sequence[RefusedPart]) -> "BuiltCandidate":
        """Return this candidate with more parts refused: their batches and marts are no longer part of it."""
        names = {each.part.name for each in self.refused}
        everything = (*self.refused, *(each for each in refused if each.part.name not in names))
        streams = {stream for each in everything for stream in each.part.streams}
        marts = {mart for each in everything for mart in each.part.marts}
        update = {
            "work": self.work.without(streams, self.stream_of),
            "marts": tuple(mart for mart in self.marts if mart not in marts),
            "refused": everything,
        }
        return self.model_copy(update=update)

    @property
    def owed(self) -> tuple[str, ...]:
        """Return the refused parts that this run was to rebuild completely."""
        names = sorted(each.part.name for each in self.refused)
        return tuple(name for name in names if self.work.whole or name in self.work.owed)

    @property
    def stays(self) -> tuple[str, ...]:
        """Return the tables and views that must be in the candidate as they are published."""
        return tuple(sorted(table for each in self.refused for table in each.part.tables))

    @property
    def known(self) -> tuple[str, ...]:
        """Return the tables and views of all parts."""
        return tuple(sorted(table for part in self.parts for table in part.tables))

    @property
    def is_empty(self) -> bool:
        """Return True when every part that had work is refused."""
        return bool(self.refused) and not self.work.batches and not self.marts


class Publication(Frozen):
    """A candidate that a model run published, the number of merges that it was built for, and its first fact's time."""

    candidate: str
    run_id: str
    batches: Count
    at: datetime
