"""The footer of a Parquet file in; the columns whose dates and times all fit those of a table, unread, out."""

import json

import pyarrow.parquet as pq

from beam_job.steps.cached import cached
from beam_job.steps.iso_text import DAY
from beam_job.steps.rows import FIRST_US, LAST_US

UNIT_US = {"milliseconds": 1_000, "microseconds": 1}


def within_years(footer: pq.FileMetaData) -> frozenset[str]:
    """Return columns whose statistics say that they have only whole microseconds of the years 1 to 9999.

    A file with wrong statistics is rejected when its rows are converted.
    """
    names = [footer.schema.column(number).path for number in range(footer.num_columns)]
    units = {number: _unit_us(footer.schema.column(number)) for number in range(footer.num_columns)}
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    return frozenset(
        names[number]
        for number, unit in units.items()
        if unit and names.count(names[number]) == 1 and all(_is_within(g.column(number), unit) for g in groups)
    )


def _unit_us(column: pq.ColumnSchema) -> int:
    """Return how many microseconds an integer of the column stands for; 0 if it is none, or a part of one."""
    return _unit_of(column.logical_type.to_json()) if column.physical_type in ("INT32", "INT64") else 0


@cached
def _unit_of(described: str) -> int:
    logical = json.loads(described)
    if logical["Type"] == "Timestamp":
        return UNIT_US.get(logical["timeUnit"], 0)
    return DAY * 1_000_000 if logical["Type"] == "Date" else 0


def _is_within(chunk: pq.ColumnChunkMetaData, unit: int) -> bool:
    statistics = chunk.statistics
    if statistics is None:
        return False
    if not statistics.has_min_max:
        return bool(statistics.has_null_count and statistics.null_count == chunk.num_values)
    low, high = int(statistics.min_raw), int(statistics.max_raw)
    return FIRST_US // unit <= low and high <= LAST_US // unit
