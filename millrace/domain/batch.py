"""A batch: the manifests of one stream that are merged in one transaction, and what came of it."""

from datetime import datetime
from typing import Literal

from millrace.domain.errors import BalanceError
from millrace.domain.landing import Count
from millrace.domain.types import Column, Frozen, Name

StagingFormat = Literal["parquet", "arrow"]


class BatchObject(Frozen):
    """One object of a batch, with all that its rows' order depends on."""

    name: str
    generation: int
    size: Count
    rows: Count | None
    job_id: int
    epoch: Count
    generation_id: Count
    complete: bool = True

    @property
    def floor(self) -> str:
        """What the versions of its rows begin with, as hex: sorts connection epochs, then Airbyte's generations."""
        return floor(self.epoch, self.generation_id)


def floor(epoch: int, generation_id: int) -> str:
    """The least version of a generation, as hex."""
    return (epoch.to_bytes(4, "big") + generation_id.to_bytes(8, "big")).hex()


class Batch(Frozen):
    """The work of one merge, fixed before it starts, so that a retry is the same batch.

    `staging` is the format of files that its warehouse loads best. `learned` are columns that the table has beyond the
    contract, from files before. `snapshots` are the floors of the generations that are complete in it (overwrite
    streams), `newest_snapshot` that of the newest complete one that is known, in it or not.
    """

    v: Literal[1] = 1
    id: str
    source: Name
    stream: Name
    engine: Literal["plain", "in-process", "dataflow"]
    staging: StagingFormat = "parquet"
    manifests: tuple[str, ...]
    objects: tuple[BatchObject, ...]
    head_epoch: Count
    opened_at: datetime
    learned: dict[str, Column] = {}  # noqa: RUF012  pydantic copies defaults
    snapshots: tuple[str, ...] = ()
    newest_snapshot: str = ""

    @property
    def bytes(self) -> int:
        """Size of all objects in bytes."""
        return sum(o.size for o in self.objects)


class QuarantinedRow(Frozen):
    """A row (or, with `row` None, a whole file) that broke its contract."""

    reason: str
    object: str
    generation: int
    row: Count | None
    rows: Count = 1
    detail: str = ""


class RefusedObject(Frozen):
    """An object that is in quarantine now, in whole or in part; `attempts` is how often it was merged."""

    object: str
    generation: int
    rows: Count
    attempts: Count
    reasons: str


class Drift(Frozen):
    """A column that files bring otherwise than the contract: `was` is empty when it is new, `now` when it is gone."""

    column: str
    was: str
    now: str
    ignored: bool = False

    def __str__(self) -> str:
        if self.ignored:
            return f"{self.column} ({self.now}) is ignored"
        if not self.was:
            return f"{self.column} ({self.now}) is new"
        return f"{self.column} became {self.now}" if self.now else f"{self.column} is missing"


class Staged(Frozen):
    """What the Beam job made of a batch: files to load, and the rows that don't get there.

    `upserts` and `deletes` are files of the batch's format under `_staging/<batch>/<attempt>/`, one winner per key and
    register each; `kept` are Parquet, with keys of refused rows. Rows below `floor` are of generations that a snapshot
    replaces; `blocked` says why one can't. `columns` are those that files added or widened. `attempt` is empty where a
    version of the platform without attempts staged it.
    """

    batch_id: str
    attempt: str = ""
    upserts: tuple[str, ...]
    deletes: tuple[str, ...]
    rows_in: Count
    superseded: Count
    quarantined: tuple[QuarantinedRow, ...] = ()
    columns: dict[str, Column] = {}  # noqa: RUF012  pydantic copies defaults
    drift: tuple[Drift, ...] = ()
    kept: tuple[str, ...] = ()
    floor: str = ""
    blocked: str = ""


class Balance(Frozen):
    """Where every row of a batch went; `rows_in` is the sum of the next four."""

    rows_in: Count
    merged: Count
    superseded: Count
    stale: Count
    quarantined: Count
    tombstoned_by_absence: Count = 0

    def check(self, batch_id: str) -> None:
        """Refuse a balance whose terms do not add up.

        Raises:
            BalanceError: names the batch and every term.
        """
        accounted = self.merged + self.superseded + self.stale + self.quarantined
        if accounted != self.rows_in:
            raise BalanceError(
                f"batch {batch_id}: {self.rows_in} rows in, but merged {self.merged} + superseded {self.superseded}"
                f" + stale {self.stale} + quarantined {self.quarantined} = {accounted}; nothing was committed"
            )
