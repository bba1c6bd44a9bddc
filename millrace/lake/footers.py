"""Data files in; their numbers of rows, from footers and block headers, out."""

from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.lake.avro import read_blocks
from millrace.lake.store import Lake

DATA_ENDINGS = (".parquet", ".avro")


def is_data_file(name: str) -> bool:
    """Return true when an object is a data file; Airbyte may add `-N` after the ending."""
    return any(name.endswith(ending) or f"{ending}-" in name for ending in DATA_ENDINGS)


def is_avro(name: str) -> bool:
    """Return true when a data file is Avro, false when it is Parquet."""
    return ".avro" in name.rsplit("/", 1)[-1]


def count_rows(lake: Lake, name: str) -> int | None:
    """Return the number of rows of one object; None when it is not a readable file of the format that its name says."""
    with lake.open(name) as file:
        try:
            return _avro_rows(file) if is_avro(name) else int(pq.ParquetFile(file).metadata.num_rows)
        except (pa.ArrowException, OSError, ValueError, EOFError, KeyError, TypeError):
            return None


def _avro_rows(file: BinaryIO) -> int:
    return sum(block.rows for block in read_blocks(file)[1])
