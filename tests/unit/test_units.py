"""A batch's objects in groups of bounded size."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_job.steps.units import UNIT_BYTES, UNIT_FILES, units
from beam_job.steps.work import GROUP_ROWS, Work, table_files
from millrace.domain.batch import Batch, BatchObject
from tests.support.in_process import MemoryLake
from tests.support.merging import contract


def batch(sizes: list[int]) -> Batch:
    objects = tuple(
        BatchObject(name=f"raw/{i}.parquet", generation=1, size=size, rows=1, job_id=1, epoch=0, generation_id=0)
        for i, size in enumerate(sizes)
    )
    return Batch(
        id="b",
        source="shop",
        stream="orders",
        engine="plain",
        manifests=(),
        objects=objects,
        head_epoch=0,
        opened_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@given(sizes=st.lists(st.integers(0, 2 * UNIT_BYTES), max_size=60))
def test_each_object_is_in_one_unit_in_order(sizes: list[int]) -> None:
    merge_batch = batch(sizes)
    work_units = units(merge_batch)
    indexed = [(index, o) for unit in work_units for index, o in unit.indexed_objects()]
    assert indexed == list(enumerate(merge_batch.objects))
    assert [unit.number for unit in work_units] == list(range(len(work_units)))
    for unit in work_units:
        assert unit.objects
        assert len(unit.objects) == 1 or sum(o.size for o in unit.objects) <= UNIT_BYTES


def test_ten_thousand_small_files_are_a_few_units() -> None:
    work_units = units(batch([10] * 10_000))
    assert len(work_units) == -(-10_000 // UNIT_FILES)


def test_each_index_maps_to_its_unit() -> None:
    work = Work(MemoryLake(), contract(), batch([UNIT_BYTES, 1, 1, UNIT_BYTES]), "attempt")
    assert np.array_equal(work.unit_of, [0, 1, 1, 2])


def test_rows_of_small_tables_share_a_row_group() -> None:
    lake = MemoryLake()
    with table_files(lake, "staged.parquet") as (file,):
        for i in range(300):
            file.add(pa.table({"row": range(10 * i, 10 * i + 10)}))
        file.add(pa.table({"row": range(3000, 3000 + GROUP_ROWS)}))
    written = pq.ParquetFile(lake.open("staged.parquet"))
    assert written.metadata.num_row_groups == 1
    assert written.read().column("row").to_pylist() == list(range(3000 + GROUP_ROWS))


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_file_format_follows_the_extension(ending: str) -> None:
    lake, rows = MemoryLake(), pa.table({"row": range(5)})
    with table_files(lake, f"staged.{ending}", f"empty.{ending}") as (file, _):
        file.add(rows)
    assert [info.name for info in lake.list("")] == [f"staged.{ending}"]
    read = pq.read_table if ending == "parquet" else lambda source: pa.ipc.open_file(source).read_all()
    assert read(pa.BufferReader(lake.read(f"staged.{ending}"))) == rows
