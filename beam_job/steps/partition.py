"""A table and a number per row in; the rows of each number, which are copied once, out."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_job.steps.work import Rows


def partition(table: pa.Table, numbers: npt.NDArray[np.integer]) -> Iterator[tuple[int, pa.Table]]:
    """Yield (number, its rows) by rising number; the rows of a number keep their order. Numbers are below 2^31."""
    if not len(numbers):
        return
    small = numbers.astype(np.uint16 if numbers.max() < 1 << 16 else np.int32)  # numpy sorts 16 bits in one pass
    order: Rows = np.argsort(small, kind="stable")
    ordered = small[order]
    borders = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(ordered)]
    rows = table.take(pa.array(order)) if len(borders) > 2 else table
    for begin, end in pairwise(borders):
        yield int(ordered[begin]), rows.slice(begin, end - begin)
