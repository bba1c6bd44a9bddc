"""The model of a merge in thirty lines, from any history of a stream to the expected table."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from millrace.contracts.stream import StreamContract
from tests.support.encodings import Encoding

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
INSTANTS = ("0999-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000000001Z", "2024-01-01T00:00:00.5Z")
UNCHANGED = "__debezium_unavailable_value"
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """One row of a file; `note` is unique within its key, `gone` makes it a delete; some streams have a `bio`."""

    key: Key
    order: tuple[Any, ...]
    extracted: int
    gone: bool
    note: int
    amount: float | None
    bio: str | None = None


@dataclass(frozen=True)
class File:
    """One object of a sync; files differ in encoding and in the type of `amount`; some have a column less or more.

    With `damage`, its bytes are "cut", or lack the last row that its manifest counts ("short").
    """

    rows: tuple[Row, ...]
    amount: str
    extra: bool
    encoding: Encoding = field(default_factory=Encoding)
    damage: str = ""


@dataclass(frozen=True)
class Sync:
    """The files that one job left in the lake."""

    job: int
    epoch: int
    generation: int
    files: tuple[File, ...]
    succeeded: bool = True


@dataclass(frozen=True)
class Stream:
    """A contract, and values of its key and order columns."""

    contract: StreamContract
    keys: st.SearchStrategy[Key]
    orders: st.SearchStrategy[tuple[Any, ...]]

    @property
    def overwrites(self) -> bool:
        return self.contract.mode == "overwrite"

    @property
    def replaces(self) -> bool:
        """Return whether a whole generation replaces older ones."""
        return self.overwrites or self.contract.refresh == "remove"


def model(stream: Stream, syncs: Collection[Sync], erased: Iterable[Key] = ()) -> dict[Key, tuple[Any, ...]]:
    """Return per key: note, amount and extra column of the newest upsert; the newest `bio` that is no unchanged value;
    if the row is live; if it has a delete."""
    dead = keeps_dead_rows(stream)
    registers: dict[Key, dict[bool, tuple[Any, ...]]] = {}
    values: dict[Key, dict[tuple[Any, ...], str | None]] = {}
    for sync in syncs:
        for part, file in enumerate(sync.files):
            for position, row in enumerate(file.rows):
                key = row.key if stream.contract.key else (sync.job, part, position)
                if is_refused(stream, sync, file, row) or sync_version(sync) < min_version(stream, syncs, key):
                    continue
                if row.gone and stream.contract.deletes == "ignore":
                    continue
                version = (sync.epoch, sync.generation, *map(rank, row.order), sync.job, row.extracted, part, position)
                if not row.gone and row.bio != UNCHANGED:
                    values.setdefault(key, {})[version] = row.bio
                newest = registers.setdefault(key, {})
                if row.gone not in newest or newest[row.gone][0] < version:
                    newest[row.gone] = (version, row.note, stored_amount(row, file), row.note if file.extra else None)
    table: dict[Key, tuple[Any, ...]] = {}
    for key, newest in registers.items():
        upsert, delete = newest.get(False), newest.get(True)
        live = upsert is not None and (delete is None or delete[0] < upsert[0])
        table[key] = (
            *(upsert[1:] if upsert else (None, None, None)),
            values[key][max(values[key])] if key in values else None,
            live,
            delete is not None and keeps_dead_rows(stream),
        )
    table |= {key: (None, None, None, None, False, True) for key in erased}
    return {key: row for key, row in table.items() if row[4] or dead}


def keeps_dead_rows(stream: Stream) -> bool:
    """Return whether dead rows depend on the history alone, not on the order of its arrival or its mends."""
    return bool(stream.contract.key) and not stream.replaces


def sync_version(sync: Sync) -> tuple[int, int]:
    """Return the prefix that all versions of a sync share."""
    return sync.epoch, sync.generation


def min_version(stream: Stream, syncs: Iterable[Sync], key: Key) -> tuple[int, int]:
    """Return the lowest version of a key's rows that count: that of the newest snapshot which does not refuse it."""
    if not stream.overwrites:
        return max(
            (sync_version(s) for s in syncs if stream.replaces and is_refreshed(stream, syncs, s)), default=(0, 0)
        )
    snapshots = [s for s in syncs if is_whole(s) and key not in refused_keys(stream, s)]
    return max(map(sync_version, snapshots), default=(0, 0))


def is_whole(sync: Sync) -> bool:
    """Return whether a snapshot may replace the table: it succeeded, and every row has a key."""
    unread = any(file.damage or any(None in row.key for row in file.rows) for file in sync.files)
    return sync.succeeded and bool(sync.files) and not unread


def is_refreshed(stream: Stream, syncs: Iterable[Sync], sync: Sync) -> bool:
    """Return whether a sync's generation removes older rows: until its first sync that succeeded, none was refused."""
    own = [s for s in syncs if sync_version(s) == sync_version(sync)]
    ended = min((s.job for s in own if s.succeeded), default=None)
    return ended is not None and not any(refused_keys(stream, s) for s in own if s.job <= ended)


def refused_keys(stream: Stream, sync: Sync) -> set[Key]:
    """Return the keys of a snapshot's refused rows: they keep the values of older snapshots."""
    return {row.key for file in sync.files for row in file.rows if is_refused(stream, sync, file, row) and row.key}


def is_refused(stream: Stream, sync: Sync, file: File, row: Row) -> bool:
    """Return whether a row goes to the quarantine: it has no key, half an amount, or a file or sync that is broken."""
    half = stream.contract.evolution.type_changes != "widen" and (stored_amount(row, file) or 0.0) % 1 != 0
    return half or None in row.key or bool(file.damage) or (stream.overwrites and not sync.succeeded)


def rank(value: Any) -> tuple[Any, ...]:
    """Return a value's rank within its type: NULL, values, NaN."""
    if value is None:
        return (0,)
    if value in INSTANTS:
        return (1, INSTANTS.index(value))
    return (2,) if isinstance(value, float) and math.isnan(value) else (1, value)


def stored_amount(row: Row, file: File) -> float | None:
    """Return a row's amount as its file stores it."""
    if row.gone or row.amount is None or not file.amount:
        return None
    return row.amount if file.amount == "float64" else row.amount // 1
