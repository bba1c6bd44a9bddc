"""Second step: the newest body and the newest delete of each key of one shard."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.keys import sort_words
from beam_job.work import Work, from_ipc, to_ipc

HELD_ROWS = 2_000_000


def pick_winners(work: Work, shard: int, parts: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(unit, rows of it) that win; a shard with too many versions of its keys is thinned out as it comes."""
    rows = held = 0
    kept: list[pa.Table] = []
    for part in parts:
        kept.append(from_ipc(part))
        rows += kept[-1].num_rows
        held += kept[-1].num_rows
        if held > HELD_ROWS and len(kept) > 1:
            kept = [newest(pa.concat_tables(kept))]
            held = max(kept[0].num_rows - HELD_ROWS, 0)
    winners = newest(pa.concat_tables(kept)).select(["place", "row", "kind"])
    work.report("shard", shard, {"rows": rows, "winners": winners.num_rows})
    unit = work.unit_of[winners.column("place").to_numpy()]
    for number in np.unique(unit):
        yield int(number), to_ipc(winners.filter(pa.array(unit == number)))


def newest(keys: pa.Table) -> pa.Table:
    """The last row of each register in the order of versions."""
    keys = keys.combine_chunks()
    groups = _groups(keys)
    order = np.lexsort((*reversed(sort_words(keys.column("version").combine_chunks())), *groups[::-1]))
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in groups:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    last = np.zeros(len(order), np.bool_)
    last[order[np.append(~same, True)]] = True
    return keys.filter(pa.array(last))


def _groups(keys: pa.Table) -> list[npt.NDArray[np.generic]]:
    """Columns that tell registers apart; the keys themselves only when two of them have one hash."""
    hashes, kinds = keys.column("hash").to_numpy(), keys.column("kind").to_numpy()
    coded = [pc.dictionary_encode(keys.column(c).combine_chunks()).indices.to_numpy() for c in _key_columns(keys)]
    if not coded:
        return [hashes, kinds]
    order = np.argsort(hashes, kind="stable")
    same_hash = hashes[order][1:] == hashes[order][:-1]
    collides = any((same_hash & (c[order][1:] != c[order][:-1])).any() for c in coded)
    return [hashes, *coded, kinds] if collides else [hashes, kinds]


def _key_columns(keys: pa.Table) -> list[str]:
    return [name for name in keys.column_names if name.startswith("key_")]
