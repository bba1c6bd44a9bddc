"""Second step: the newest body and the newest delete of each key of one shard."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.keys import sort_words
from beam_job.rows import Mask
from beam_job.work import Rows, Work

HELD_ROWS = 2_000_000


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
    work.report("shard", shard, {"rows": rows, "winners": winners.num_rows})
    unit = work.unit_of[winners.column("place").to_numpy()]
    for number in np.unique(unit):
        yield int(number), winners.filter(pa.array(unit == number))


def newest(keys: pa.Table) -> Mask:
    """Which row is the last of its register in the order of versions; only keys that have several are sorted."""
    hashes = keys.column("hash").to_numpy()
    order = np.argsort(hashes)
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    several = np.zeros(keys.num_rows, np.bool_)
    several[order[np.append(same, False) | np.insert(same, 0, False)]] = True
    winners: Mask = ~several
    if several.any():
        winners[np.flatnonzero(several)[_last_of_each(keys.filter(pa.array(several)))]] = True
    return winners


def _last_of_each(keys: pa.Table) -> Rows:
    """Positions of the last row of each register."""
    groups = _groups(keys)
    order = np.lexsort((*reversed(sort_words(keys.column("version").combine_chunks())), *groups[::-1]))
    same = np.ones(len(order) - 1, np.bool_)
    for column in groups:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    last: Rows = order[np.append(~same, True)]
    return last


def _groups(keys: pa.Table) -> list[npt.NDArray[np.generic]]:
    """Columns that tell registers apart; the keys themselves only when two of them have one hash."""
    hashes, kinds = keys.column("hash").to_numpy(), keys.column("kind").to_numpy()
    names = [name for name in keys.column_names if name.startswith("key_")]
    order = np.argsort(hashes)
    same_hash = hashes[order][1:] == hashes[order][:-1]
    coded = [pc.dictionary_encode(keys.column(name).combine_chunks()).indices.to_numpy() for name in names]
    collides = any((same_hash & (column[order][1:] != column[order][:-1])).any() for column in coded)
    return [hashes, *coded, kinds] if collides else [hashes, kinds]
