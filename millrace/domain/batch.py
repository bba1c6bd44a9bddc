"""A batch, the manifests of one stream that are merged in one transaction, and its results, as types."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import model_validator

from millrace.domain.errors import BalanceError
from millrace.domain.landing import Count
from millrace.domain.types import Column, Frozen, Name

StagingFormat = Literal["parquet", "arrow"]
Engine = Literal["plain", "in-process", "dataflow"]
ROW_BYTES = 50  # compressed; for manifests without a number of rows


class BlockRange(Frozen):
    """Whole blocks of an Avro file: their first byte, the byte after them, and the position of their first row."""

    begin: Count
    end: Count
    first_row: Count


class BatchObject(Frozen):
    """One object of a batch, with every value that the order of its rows depends on.

    `manifest` is the number of the manifest that names it within the batch's manifests; None in a batch that an older
    version of the platform opened. `replaced` is True if another manifest names a newer generation of the object.
    `replaces` is True if its sync read a generation to its end which removes the rows of older ones (cdc and append).
    `job_created_at` is None only outside a batch. In a part of a large file `size` and `rows` are the part's, and
    either `groups` are the first of its row groups and the one after the last (Parquet), or `blocks` are its blocks
    (Avro); both are None for a whole object.
    """

    name: str
    generation: int
    size: Count
    rows: Count | None
    job_id: int
    epoch: Count
    generation_id: Count
    complete: bool = True
    manifest: Count | None = None
    replaced: bool = False
    replaces: bool = False
    job_created_at: datetime | None = None
    groups: tuple[Count, Count] | None = None
    blocks: BlockRange | None = None

    @property
    def is_part(self) -> bool:
        """Return whether it is a part of a file, which other objects of the batch complete."""
        return self.groups is not None or self.blocks is not None

    @property
    def min_version(self) -> str:
        """Return the prefix of its rows' versions, as hex: sorts connection epochs, then Airbyte's generations."""
        return min_version(self.epoch, self.generation_id)


def min_version(epoch: int, generation_id: int) -> str:
    """Return the lowest version of a generation, as hex."""
    return (epoch.to_bytes(4, "big") + generation_id.to_bytes(8, "big")).hex()


def split_version(version: str) -> tuple[int, int]:
    """Return connection epoch and generation of the lowest version of a generation."""
    return int(version[:8], 16), int(version[8:24], 16)


class Batch(Frozen):
    """The work of one merge, fixed before it starts, so that a retry is the same batch.

    `staging` is the file format that its warehouse loads best. `learned` are the table's columns beyond the contract,
    added by earlier files. `snapshots` are the lowest versions of the generations that are complete in this batch
    (overwrite streams); `newest_snapshot` is that of the newest complete generation, in this batch or an earlier one.
    `floor` is that of the head at which it was opened, and `refreshed_at` the time of the first waiting job of the
    newest whole generation of a cdc or append stream.
    """

    v: Literal[1] = 1
    id: str
    source: Name
    stream: Name
    engine: Engine
    staging: StagingFormat = "parquet"
    manifests: tuple[str, ...]
    objects: tuple[BatchObject, ...]
    head_epoch: Count
    opened_at: datetime
    learned: dict[str, Column] = {}  # noqa: RUF012  pydantic copies defaults
    snapshots: tuple[str, ...] = ()
    newest_snapshot: str = ""
    floor: str = ""
    refreshed_at: datetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_version(cls, values: Any) -> Any:
        """Take the time of the opening as that of the jobs in a batch that an older version of the platform opened."""
        if not isinstance(values, dict) or "opened_at" not in values:
            return values
        absent = {"job_created_at": values["opened_at"]}
        objects = [absent | o if isinstance(o, dict) else o for o in values.get("objects", ())]
        return values | {"objects": tuple(objects)}

    @property
    def bytes(self) -> int:
        """Return the size of all objects in bytes."""
        return sum(o.size for o in self.objects)

    @property
    def rows(self) -> int:
        """Return the number of rows of all objects, estimated for those whose manifests do not count them."""
        return count_rows(self.objects)


def count_rows(objects: Iterable[BatchObject]) -> int:
    """Return the number of rows of objects, estimated for those whose manifests do not count them."""
    return sum(o.size // ROW_BYTES if o.rows is None else o.rows for o in objects)


def newest_generations(batch: Batch, staged: "Staged", merged: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the newest generation of each object of the batch of which two generations have rows.

    `merged` are the (object, generation) pairs, of these objects, that were merged before and not rejected as a whole.
    """
    generations: dict[str, set[int]] = {}
    rejected = staged.rejected_objects
    for name, generation in merged:
        generations.setdefault(name, set()).add(generation)
    for o in batch.objects:
        if (o.name, o.generation) not in rejected:
            generations.setdefault(o.name, set()).add(o.generation)
    return {name: max(known) for name, known in generations.items() if len(known) > 1}


class QuarantinedRow(Frozen):
    """A row (with `row` None: a whole file) that violates its contract."""

    reason: str
    object: str
    generation: int
    row: Count | None
    rows: Count = 1
    detail: str = ""


class QuarantinedObject(Frozen):
    """An object with quarantined rows, or quarantined as a whole; `attempts` counts its merges.

    `detail` is that of its first row.
    """

    object: str
    generation: int
    rows: Count
    attempts: Count
    reasons: str
    detail: str = ""


class Drift(Frozen):
    """A column that differs between files and contract: `was` is empty for a new column, `now` for a missing one."""

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
    """The result of staging a batch: files to load, and the rows that are not loaded.

    `upserts` and `deletes` are files of the batch's format under `_staging/<batch>/<attempt>/`, with one winner per key
    and register each; `kept` are Parquet files with the keys of quarantined rows, and `kept_by` the snapshot of each.
    `snapshots` are the lowest versions of the whole snapshots; the newest of them replaces the generations whose
    versions are below `floor`; `blocked` is the reason why a newer snapshot does not. In cdc and append streams whole
    generations take the place of snapshots, and no row has a version below `lowest`, unless it is empty. `generations`
    are the lowest versions of the newest generation in each manifest's objects, by its number in the batch. `columns`
    are those that files added or widened. `attempt` is empty when an older version of the platform staged the batch.
    `revives` is the floor of the head if it has to fall to `floor`, as the generation that begins there turned out to
    have rows in quarantine: the rows that it removed come back.

    If a winner has a text that stands for an unchanged value, `upserts` have all upserts of the batch (`every_upsert`),
    of which the older ones are not among `superseded`; `unchanged` are the columns with such a text.
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
    kept_by: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    floor: str = ""
    blocked: str = ""
    lowest: str = ""
    generations: dict[int, str] = {}  # noqa: RUF012  pydantic copies defaults
    every_upsert: bool = False
    unchanged: tuple[str, ...] = ()
    revives: str = ""

    @property
    def rejected_objects(self) -> set[tuple[str, int]]:
        """Return the (object, generation) pairs that are in quarantine as a whole."""
        return {(q.object, q.generation) for q in self.quarantined if q.row is None}


class Balance(Frozen):
    """The number of a batch's rows per outcome; `rows_in` is the sum of the next four."""

    rows_in: Count
    merged: Count
    superseded: Count
    stale: Count
    quarantined: Count
    tombstoned_by_absence: Count = 0

    def check(self, batch_id: str) -> None:
        """Check that the terms add up.

        Raises:
            BalanceError: names the batch and every term.
        """
        accounted = self.merged + self.superseded + self.stale + self.quarantined
        if accounted != self.rows_in:
            raise BalanceError(
                f"batch {batch_id}: {self.rows_in} rows in, but merged {self.merged} + superseded {self.superseded}"
                f" + stale {self.stale} + quarantined {self.quarantined} = {accounted}; nothing was committed"
            )
