"""A table is divided by a number per row: all rows, once, in order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_job.steps.partition import partition


def table(numbers: list[int]) -> pa.Table:
    rows = pa.table({"row": pa.array(range(len(numbers)), pa.int64()), "key": [f"k{n}" for n in numbers]})
    half = len(numbers) // 2
    return pa.concat_tables([rows.slice(0, half), rows.slice(half)])


@given(numbers=st.lists(st.one_of(st.integers(0, 5), st.integers(0, 1 << 20)), max_size=200))
def test_each_row_is_in_its_part_once_in_order(numbers: list[int]) -> None:
    parts = list(partition(table(numbers), np.array(numbers, np.uint64)))
    assert [number for number, _ in parts] == sorted(set(numbers))
    for number, rows in parts:
        assert rows.column("row").to_pylist() == [row for row, other in enumerate(numbers) if other == number]
        assert set(rows.column("key").to_pylist()) == {f"k{number}"}


def test_rows_are_copied_once_however_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    class Counted:
        num_rows = 4_000

        def take(self, order: pa.Array) -> pa.Table:
            taken.append(len(order))
            return pa.table({"row": order})

    parts = list(partition(Counted(), np.arange(4_000) % 2_000))  # type: ignore[arg-type]
    assert (len(parts), taken) == (2_000, [4_000])
