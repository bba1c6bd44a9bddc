"""A batch in, the same batch with its large files in parts out, each for one worker.

A part is whole row groups (Parquet) or whole blocks (Avro). Only the steps see parts: the warehouse commits the batch
as it was opened. Objects do not change, so every run splits a batch in the same way.
"""

from collections.abc import Callable
from typing import BinaryIO, TypeVar, cast

import pyarrow.parquet as pq

from millrace.domain.batch import Batch, BatchObject, BlockRange
from millrace.domain.errors import MillraceError, ObjectMissing
from millrace.lake.avro import Block, read_blocks, read_header
from millrace.lake.footers import is_avro, parquet_rows
from millrace.lake.source import Source
from millrace.lake.store import Lake

PART_BYTES = 256 << 20  # a multiple of the windows in which an Avro file is read
MOST_BLOCKS = 1_000_000  # of a file in memory they are listed in 3 CPU seconds
Group = tuple[int, int]
"""The rows and the uncompressed bytes of a row group."""
T = TypeVar("T")


def split(lake: Lake, batch: Batch, part_bytes: int = PART_BYTES) -> Batch:
    """Return the batch with each file that is larger than `part_bytes` in parts of about that size."""
    parts = [part for obj in batch.objects for part in _split_object(lake, obj, part_bytes)]
    return batch.model_copy(update={"objects": tuple(parts)})


def _split_object(lake: Lake, obj: BatchObject, part_bytes: int) -> list[BatchObject]:
    """Return the parts of an object; the object itself when it has none, or when its rows are not those expected."""
    if obj.size <= part_bytes or not obj.complete:
        return [obj]
    if is_avro(obj.name):
        parts = _parts_of_blocks(obj, _read(lake, obj, lambda file: _ranges(file, part_bytes)))
    else:
        parts = _parts_of_groups(obj, _read(lake, obj, _row_groups), part_bytes)
    if len(parts) < 2 or sum(part.rows or 0 for part in parts) != obj.rows:
        return [obj]  # the step that reads it says why it is rejected
    return parts


def _parts_of_groups(obj: BatchObject, groups: list[Group], part_bytes: int) -> list[BatchObject]:
    whole = max(1, sum(size for _, size in groups))
    parts: list[BatchObject] = []
    begin = rows = size = 0
    for number, (group_rows, group_size) in enumerate(groups, 1):
        rows, size = rows + group_rows, size + obj.size * group_size // whole
        if size >= part_bytes or number == len(groups):
            parts.append(obj.model_copy(update={"rows": rows, "size": size, "groups": (begin, number)}))
            begin, rows, size = number, 0, 0
    return parts


def _parts_of_blocks(obj: BatchObject, ranges: list[Block]) -> list[BatchObject]:
    parts: list[BatchObject] = []
    first_row = 0
    for blocks in ranges:
        span = BlockRange(begin=blocks.start, end=blocks.start + blocks.size, first_row=first_row)
        parts.append(obj.model_copy(update={"rows": blocks.rows, "size": blocks.size, "blocks": span}))
        first_row += blocks.rows
    return parts


def _read(lake: Lake, obj: BatchObject, read: Callable[[BinaryIO], list[T]]) -> list[T]:
    """Return what is read from an object; nothing when it is not readable. Errors of the lake are raised."""
    try:
        with lake.open(obj.name, obj.generation) as file:
            source = Source(file)
            try:
                return read(cast(BinaryIO, source))
            except (MillraceError, MemoryError):
                raise
            except Exception:  # whatever a damaged file raises: the reader rejects the whole file by name
                if source.error:
                    raise source.error from None
                return []
    except ObjectMissing:
        return []


def _row_groups(file: BinaryIO) -> list[Group]:
    """Return the row groups of a Parquet file."""
    footer = pq.ParquetFile(file).metadata
    parquet_rows(footer)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    return [(group.num_rows, max(0, group.total_byte_size)) for group in groups]


def _ranges(file: BinaryIO, part_bytes: int) -> list[Block]:
    """Return the blocks of an Avro file, those that start in the same `part_bytes` as one; none if they are too many.

    As these are whole windows of `avro_parts`, the same blocks are decoded at once as of the whole file, with the same
    result. Where blocks are larger than the ranges in which the lake fetches an object, the rest of them is skipped.
    """
    ranges: list[Block] = []
    for number, block in enumerate(read_blocks(file, read_header(file))):
        if number == MOST_BLOCKS:
            return []
        if ranges and block.start // part_bytes == ranges[-1].start // part_bytes:
            last = ranges.pop()
            block = Block(last.start, last.size + block.size, last.rows + block.rows)
        ranges.append(block)
    return ranges
