"""Second step: the newest body and the newest delete of each key of one shard."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.keys import Words, sort_words
from beam_job.steps.rows import Mask
from beam_job.steps.work import Rows, Work

HELD_ROWS = 2_000_000
Column = npt.NDArray[Any]


def pick_winners(work: Work, shard: int, parts: Iterable[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """(unit, rows of it) that win; a shard with too many versions of its keys is thinned out as it comes."""
    rows = held = 0
    kept: list[pa.Table] = []
    for part in parts:
        kept.append(part)
        rows += part.num_rows
        held += part.num_rows
        if held > HELD_ROWS and len(kept) > 1:
            keys = pa.concat_tables(kept)
            kept = [keys.filter(pa.array(newest(keys)))]
            held = max(kept[0].num_rows - HELD_ROWS, 0)
    keys = pa.concat_tables(kept)
    winners = keys.select(["place", "row", "kind"]).filter(pa.array(newest(keys)))
    unit = work.unit_of[winners.column("place").to_numpy()]
    used = np.unique(unit)
    work.report("shard", shard, {"rows": rows, "winners": winners.num_rows, "units": used.tolist()})
    for number in used:
        yield int(number), winners.filter(pa.array(unit == number))


def newest(keys: pa.Table) -> Mask:
    """Which row is the last of its register in the order of versions; only keys that have several are compared."""
    several = _several(keys.column("hash").to_numpy())
    winners = np.ones(keys.num_rows, np.bool_)
    if len(several):
        winners[several] = False
        compared = [
            name for name in keys.column_names if name in ("hash", "kind", "version") or name.startswith("key_")
        ]
        winners[several[_last_of_each(keys.select(compared).take(pa.array(several)))]] = True
    return winners


def _several(hashes: Words) -> Rows:
    """Positions of the rows of keys that have several, and of a few others, in the order of their hashes.

    A hash's high bits are sorted with its position in the place of the low ones: words sort six times as fast as
    their positions do.
    """
    low = np.uint64(max(1, (len(hashes) - 1).bit_length()))
    ordered = np.sort((hashes >> low << low) | np.arange(len(hashes), dtype=np.uint64))
    high = ordered >> low
    same = high[1:] == high[:-1]
    several = ordered[np.append(same, False) | np.insert(same, 0, False)] & ((np.uint64(1) << low) - np.uint64(1))
    found: Rows = several.astype(np.int64)
    of_several = hashes[found]
    if (of_several[1:] < of_several[:-1]).any():  # hashes that differ in low bits alone
        found = found[np.argsort(of_several)]
    return found


def _last_of_each(keys: pa.Table) -> Rows:
    """Positions of the last row of each register; the keys come in the order of their hashes."""
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
    """Columns that tell registers apart: hashes, kinds where they differ, and keys where two of them have one hash."""
    hashes, kinds = keys.column("hash").to_numpy(), keys.column("kind").to_numpy()
    parts = [keys.column(name).combine_chunks() for name in keys.column_names if name.startswith("key_")]
    alike = _alike([hashes])
    collide = any((alike & ~_same_as_next(part)).any() for part in parts)
    coded = [pc.dictionary_encode(part).indices.to_numpy() for part in parts] if collide else []
    differ = kinds.min() != kinds.max()
    return [hashes, *coded, *([kinds] if differ else [])]


def _same_as_next(column: pa.Array) -> Mask:
    """Which values equal the one after them; NaN does not equal NaN."""
    same: Mask = pc.equal(column[:-1], column[1:]).to_numpy(zero_copy_only=False)
    return same


def _alike(columns: Sequence[Column]) -> Mask:
    """Which rows have the values of the one after them."""
    alike: Mask = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    return alike
