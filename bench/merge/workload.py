"""Makes the rows of a table and of a batch from their parameters and a seed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from bench.merge.columns import Ints, make_table

Format = Literal["parquet", "avro"]
SEED = 20_130_101
DUPLICATES, OVERLAP = 0.2, 0.5
ROWS_OF_A_DAY, RECENT_DAYS = 10_000, 5
CHUNK = 100_000
OLD, FRESH = 1 << 40, 1 << 41  # positions of the table's rows, and of a batch's newer ones


@dataclass(frozen=True)
class Target:
    """A table's rows before the batch: the keys from 0, each once, in files of a hundred thousand."""

    rows: int

    @property
    def files(self) -> int:
        """Number of files."""
        return -(-self.rows // CHUNK)

    def make_files(self) -> Iterator[Iterable[pa.Table]]:
        """Each file's rows, a part at a time."""
        for file in range(self.files):
            ids = np.arange(file * CHUNK, min((file + 1) * CHUNK, self.rows))
            yield [make_table(np.random.default_rng([SEED, 1, file]), ids, ids // ROWS_OF_A_DAY, OLD + ids, 1)]


@dataclass(frozen=True)
class Batch:
    """Rows to merge into a table: a fifth repeat a key of the batch, half of its keys are in the table.

    Args:
        keys: `spread` over the table, of its `recent` days only, or one `hot` key in every row.
        late: share of rows that are older than all of the table's.
    """

    rows: int
    target: int
    files: int = 10
    format: Format = "parquet"
    keys: Literal["spread", "recent", "hot"] = "spread"
    late: float = 0.0

    @property
    def distinct(self) -> int:
        """Different keys."""
        return 1 if self.keys == "hot" else self.rows - int(self.rows * DUPLICATES)

    @property
    def known(self) -> int:
        """Keys that the table has."""
        if self.keys == "hot":
            return 1
        most = min(self.target, ROWS_OF_A_DAY * RECENT_DAYS) if self.keys == "recent" else self.target
        return min(int(self.distinct * OVERLAP), most)

    @property
    def rows_after(self) -> int:
        """Rows of the table once the batch is merged."""
        return self.target + self.distinct - self.known

    def make_ids(self) -> Ints:
        """Key of every row of the batch."""
        rng = np.random.default_rng([SEED, 2, self.rows, self.target])
        if self.keys == "hot":
            return np.full(self.rows, self.target - 1)
        first = max(0, self.target - ROWS_OF_A_DAY * RECENT_DAYS) if self.keys == "recent" else 0
        existing = first + rng.choice(self.target - first, self.known, replace=False)
        keys = np.concatenate([existing, self.target + np.arange(self.distinct - self.known)])
        ids = np.concatenate([keys, keys[rng.integers(0, len(keys), self.rows - len(keys))]])
        rng.shuffle(ids)
        return ids

    def make_positions(self) -> Ints:
        """Position of every row in the source's log: no two are equal, and files have no order."""
        rng = np.random.default_rng([SEED, 3, self.rows])
        positions = rng.permutation(self.rows)
        return positions + np.where(rng.random(self.rows) < self.late, 0, FRESH)

    def make_days(self, ids: Ints) -> Ints:
        """The day that belongs to each key; new keys are of the table's last days."""
        last = (self.target - 1) // ROWS_OF_A_DAY
        return np.where(ids < self.target, ids // ROWS_OF_A_DAY, np.maximum(0, last - ids % RECENT_DAYS))

    def make_files(self) -> Iterator[Iterable[pa.Table]]:
        """Each file's rows, a part at a time."""
        ids, positions = self.make_ids(), self.make_positions()
        for file in range(self.files):
            first, end = (self.rows * n // self.files for n in (file, file + 1))
            yield self._make_parts(file, ids[first:end], positions[first:end])

    def _make_parts(self, file: int, ids: Ints, positions: Ints) -> Iterator[pa.Table]:
        for start in range(0, len(ids), CHUNK):
            part = slice(start, start + CHUNK)
            rng = np.random.default_rng([SEED, 4, file, start])
            yield make_table(rng, ids[part], self.make_days(ids[part]), positions[part], 2)
