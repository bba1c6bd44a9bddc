"""Data files in; their numbers of rows, from footers and block headers, out."""

from typing import BinaryIO, cast

import pyarrow.parquet as pq

from millrace.domain.errors import MillraceError
from millrace.lake.avro import read_blocks, read_header
from millrace.lake.source import Source
from millrace.lake.store import Lake

DATA_ENDINGS = (".parquet", ".avro")


def is_data_file(name: str) -> bool:
    """Return true when an object is a data file; Airbyte may add `-N` after the ending."""
    return any(name.endswith(ending) or f"{ending}-" in name for ending in DATA_ENDINGS)


def is_avro(name: str) -> bool:
    """Return true when a data file is Avro, false when it is Parquet."""
    return ".avro" in name.rsplit("/", 1)[-1]


def count_rows(lake: Lake, name: str) -> int | None:
    """Return the number of rows of one object; None when it is not a readable file of the format that its name says.

    Errors of the lake are raised: they say nothing about the object.
    """
    with lake.open(name) as file:
        source = Source(file)
        try:
            binary = cast(BinaryIO, source)
            return _avro_rows(binary) if is_avro(name) else parquet_rows(pq.ParquetFile(binary).metadata)
        except (MillraceError, MemoryError):
            raise
        except Exception:
            if source.error:
                raise source.error from None
            return None


def parquet_rows(footer: pq.FileMetaData) -> int:
    """Return the number of rows of a Parquet file.

    Columns are not looked at: `RowGroupMetaData.column` ends the process when a footer's statistics are damaged.

    Raises:
        ValueError: it is negative, or differs from that of the row groups.
    """
    rows = int(footer.num_rows)
    counted = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        if group.num_rows < 0:
            raise ValueError(f"its row group {number} has an impossible number of rows, {group.num_rows}")
        counted += group.num_rows
    if rows < 0 or rows != counted:
        raise ValueError(f"its footer says {rows} rows, its row groups have {counted}")
    return rows


def _avro_rows(file: BinaryIO) -> int:
    return sum(block.rows for block in read_blocks(file, read_header(file)))
