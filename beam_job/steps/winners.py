"""Second step: keys and versions of one shard in, the newest upsert and the newest delete of each key out.

An attempt that stages every upsert gets all of them in place of the newest ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.keys import Words, sort_words
from beam_job.steps.partition import partition
from beam_job.steps.read import UPSERT
from beam_job.steps.rows import Mask
from beam_job.steps.unchanged import stages_every_upsert
from beam_job.steps.work import Rows, Work

HELD_ROWS = 2_000_000
Column = npt.NDArray[Any]


def pick_winners(work: Work, shard: int, parts: Iterable[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """Yield (unit, its winning rows); a shard with many versions of its keys is reduced while it is read."""
    choose = newest_deletes if stages_every_upsert(work.attempt) else newest
    rows = held = 0
    tables: list[pa.Table] = []
    for part in parts:
        tables.append(part)
        rows += part.num_rows
        held += part.num_rows
        if held > HELD_ROWS and len(tables) > 1:
            keys = pa.concat_tables(tables)
            tables = [keys.filter(pa.array(choose(keys)))]
            held = max(tables[0].num_rows - HELD_ROWS, 0)
    keys = pa.concat_tables(tables)
    winners = keys.select(["index", "row", "kind"]).filter(pa.array(choose(keys)))
    unit = work.unit_of[winners.column("index").to_numpy()]
    work.report("shard", shard, {"rows": rows, "winners": winners.num_rows, "units": np.unique(unit).tolist()})
    yield from partition(winners, unit)


def newest(keys: pa.Table) -> Mask:
    """Return a mask of the newest row of each register; only keys with several rows are compared."""
    several = _several(keys.column("hash").to_numpy())
    winners = np.ones(keys.num_rows, np.bool_)
    if len(several):
        winners[several] = False
        compared = [
            name for name in keys.column_names if name in ("hash", "kind", "version") or name.startswith("key_")
        ]
        winners[several[_last_of_each(keys.select(compared).take(pa.array(several)))]] = True
    return winners


def newest_deletes(keys: pa.Table) -> Mask:
    """Return a mask of all upserts, and of the newest delete of each key."""
    chosen: Mask = keys.column("kind").to_numpy() == UPSERT
    deletes = np.flatnonzero(~chosen)
    if len(deletes):
        chosen[deletes] = newest(keys.take(pa.array(deletes)))
    return chosen


def _several(hashes: Words) -> Rows:
    """Return positions of rows whose keys have several, and of a few others, in the order of their hashes.

    A word of the hash's high bits and the position as its low bits is sorted: six times as fast as an argsort.
    """
    low = np.uint64(max(1, (len(hashes) - 1).bit_length()))
    ordered = np.sort((hashes >> low << low) | np.arange(len(hashes), dtype=np.uint64))
    high = ordered >> low
    same = high[1:] == high[:-1]
    several = ordered[np.append(same, False) | np.insert(same, 0, False)] & ((np.uint64(1) << low) - np.uint64(1))
    positions: Rows = several.astype(np.int64)
    of_several = hashes[positions]
    if (of_several[1:] < of_several[:-1]).any():  # hashes that differ only in their low bits
        positions = positions[np.argsort(of_several)]
    return positions


def _last_of_each(keys: pa.Table) -> Rows:
    """Return positions of the last row of each register; `keys` must be sorted by their hashes."""
    registers, words = _registers(keys), sort_words(keys.column("version").combine_chunks())
    most = list(islice(words, 1))
    if len(registers) == 1 and most:
        first = np.flatnonzero(np.append(True, ~_alike(registers)))
        highest = np.maximum.reduceat(most[0], first)
        last = np.flatnonzero(most[0] == np.repeat(highest, np.diff(first, append=keys.num_rows)))
        if len(last) == len(first):  # the first word that differs seldom leaves a tie
            return last
    order = np.lexsort((*reversed([*most, *words]), *reversed(registers)))
    last_of_each: Rows = order[np.append(~_alike([column[order] for column in registers]), True)]
    return last_of_each


def _registers(keys: pa.Table) -> list[Column]:
    """Return columns that distinguish registers: hashes, kinds if they differ, and keys if two of them share a hash."""
    hashes, kinds = keys.column("hash").to_numpy(), keys.column("kind").to_numpy()
    parts = [keys.column(name).combine_chunks() for name in keys.column_names if name.startswith("key_")]
    alike = _alike([hashes])
    collide = any((alike & ~_same_as_next(part)).any() for part in parts)
    coded = [pc.dictionary_encode(part).indices.to_numpy() for part in parts] if collide else []
    differ = kinds.min() != kinds.max()
    return [hashes, *coded, *([kinds] if differ else [])]


def _same_as_next(column: pa.Array) -> Mask:
    """Return a mask of values that equal the next one; NaN does not equal NaN."""
    same: Mask = pc.equal(column[:-1], column[1:]).to_numpy(zero_copy_only=False)
    return same


def _alike(columns: Sequence[Column]) -> Mask:
    """Return a mask of rows whose values equal those of the next one."""
    alike: Mask = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    return alike
