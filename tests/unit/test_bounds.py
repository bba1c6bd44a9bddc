"""A Parquet file's statistics spare the read that looks for dates and times which a table can't hold."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_job.steps.bounds import within_years
from beam_job.steps.files import DataFile
from beam_job.steps.write import stage_upserts
from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected
from tests.support.in_process import MemoryLake
from tests.support.merging import contract

COLUMNS: dict[str, tuple[pa.DataType, list[Any], bool]] = {
    "date": (pa.date32(), [2_932_896, -719_162], True),
    "late date": (pa.date32(), [0, 2_932_897], False),
    "early date": (pa.date32(), [0, -719_163], False),
    "instant": (pa.timestamp("us", "UTC"), [253_402_300_799_999_999, None], True),
    "late instant": (pa.timestamp("us"), [253_402_300_800_000_000, 0], False),
    "milliseconds": (pa.timestamp("ms"), [253_402_300_799_999, 0], True),
    "late milliseconds": (pa.timestamp("ms"), [253_402_300_800_000, 0], False),
    "nanoseconds": (pa.timestamp("ns"), [1, 2], False),
    "nothing": (pa.date32(), [None, None], True),
    "time of day": (pa.time64("us"), [1, 2], False),
    "number": (pa.int64(), [1, 2], False),
    "list": (pa.list_(pa.date32()), [[1], None], False),
}


def file_of(statistics: bool) -> bytes:
    table = pa.table({name: pa.array(values, kind) for name, (kind, values, _) in COLUMNS.items()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_statistics=statistics)
    return buffer.getvalue()


@pytest.mark.parametrize("name", COLUMNS)
def test_statistics_bound_dates_and_times(name: str) -> None:
    assert (name in within_years(pq.ParquetFile(io.BytesIO(file_of(True))).metadata)) is COLUMNS[name][2]


def test_file_without_statistics_bounds_nothing() -> None:
    assert within_years(pq.ParquetFile(io.BytesIO(file_of(False))).metadata) == frozenset()


def test_bounded_columns_have_the_tables_names() -> None:
    lake = MemoryLake()
    generation = lake.write("raw/a.parquet", file_of(True))
    obj = BatchObject(name="raw/a.parquet", generation=generation, size=1, rows=2, job_id=1, epoch=0, generation_id=0)
    bounded = DataFile(lake, obj, []).bounded
    assert {"date", "instant", "milliseconds", "nothing"} == bounded


def test_wrong_statistics_reject_the_file() -> None:
    stream = contract(order=["id"], columns={"id": {"type": "int64", "nullable": False}, "day": {"type": "date"}})
    table = pa.table(
        {
            "id": [1],
            "day": pa.array([2_932_897], pa.date32()),
            "_airbyte_extracted_at": [0],
            "_airbyte_generation_id": [0],
        }
    )
    obj = BatchObject(name="raw/a.parquet", generation=1, size=1, rows=1, job_id=1, epoch=0, generation_id=0)
    with pytest.raises(FileRejected, match=r"raw/a.parquet: day has values beyond those that its statistics state"):
        stage_upserts(table, stream, obj, pa.array([0]).to_numpy())
