"""Second step: the newest body and the newest delete of each key of one shard."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.keys import sort_words
from beam_job.work import Work

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
            kept = [newest(pa.concat_tables(kept))]
            held = max(kept[0].num_rows - HELD_ROWS, 0)
    winners = newest(pa.concat_tables(kept)).select(["place", "row", "kind"])
    work.report("shard", shard, {"rows": rows, "winners": winners.num_rows})
    unit = work.unit_of[winners.column("place").to_numpy()]
    for number in np.unique(unit):
        yield int(number), winners.filter(pa.array(unit == number))


def newest(keys: pa.Table) -> pa.Table:
    """The last row of each register in the order of versions; most keys have one, and only the others are sorted."""
    keys = keys.combine_chunks()
    order = np.argsort(keys.column("hash").to_numpy())
    hashes = keys.column("hash").to_numpy()[order]
    same = hashes[1:] == hashes[:-1]
    several = np.append(same, False) | np.insert(same, 0, False)
    winners = np.zeros(keys.num_rows, np.bool_)
    winners[order[~several]] = True
    if several.any():
        places = np.sort(order[several])
        winners[places[_last_of_each(keys.take(pa.array(places)))]] = True
    return keys.filter(pa.array(winners))


def _last_of_each(keys: pa.Table) -> npt.NDArray[np.int64]:
    """Positions of the last row of each register."""
    keys = keys.combine_chunks()
    groups = _groups(keys)
    order = np.lexsort((*reversed(sort_words(keys.column("version").combine_chunks())), *groups[::-1]))
    same = np.ones(len(order) - 1, np.bool_)
    for column in groups:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    found: npt.NDArray[np.int64] = order[np.append(~same, True)]
    return found


def _groups(keys: pa.Table) -> list[npt.NDArray[np.generic]]:
    """Columns that tell registers apart; the keys themselves only when two of them have one hash."""
    hashes, kinds = keys.column("hash").to_numpy(), keys.column("kind").to_numpy()
    names = [name for name in keys.column_names if name.startswith("key_")]
    order = np.argsort(hashes)
    same_hash = hashes[order][1:] == hashes[order][:-1]
    coded = [pc.dictionary_encode(keys.column(name).combine_chunks()).indices.to_numpy() for name in names]
    collides = any((same_hash & (column[order][1:] != column[order][:-1])).any() for column in coded)
    return [hashes, *coded, kinds] if collides else [hashes, kinds]
