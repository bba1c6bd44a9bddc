"""Avro files by their blocks: counted and divided without reading a row."""

import io
from typing import Any

import fastavro
import pytest

from millrace.lake.avro import avro_parts, read_blocks

SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "r",
        "fields": [{"name": "id", "type": "long"}, {"name": "note", "type": "string"}],
    }
)
ROWS = [{"id": i, "note": "x" * (i % 40)} for i in range(500)]


def written(rows: list[dict[str, Any]], codec: str = "deflate") -> bytes:
    buffer = io.BytesIO()
    fastavro.writer(buffer, SCHEMA, rows, codec=codec, sync_interval=200, metadata={"who": "test"})
    return buffer.getvalue()


def rows_of(part: bytes) -> list[Any]:
    return list(fastavro.reader(io.BytesIO(part)))


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_parts_are_avro_files_of_a_bounded_size_with_all_rows_in_order(codec: str) -> None:
    data = written(ROWS, codec)
    parts = list(avro_parts(io.BytesIO(data), 1_000))
    assert len(parts) > 3
    assert max(map(len, parts)) < 2_000
    assert [row for part in parts for row in rows_of(part)] == ROWS


def test_a_file_without_rows_is_one_part_without_rows() -> None:
    data = written([])
    assert list(avro_parts(io.BytesIO(data), 10)) == [data]


def test_blocks_tell_how_many_rows_there_are_and_cover_the_file() -> None:
    data = written(ROWS)
    header, blocks = read_blocks(io.BytesIO(data))
    found = list(blocks)
    assert sum(block.rows for block in found) == len(ROWS)
    assert len(header) + sum(block.size for block in found) == len(data)


@pytest.mark.parametrize("cut", [2, 30, -1, -20])
def test_a_file_that_breaks_off_is_no_avro(cut: int) -> None:
    with pytest.raises(ValueError, match="Avro"):
        list(avro_parts(io.BytesIO(written(ROWS)[:cut]), 2_000))


def test_a_foreign_sync_marker_is_found() -> None:
    data = bytearray(written(ROWS))
    data[-1] ^= 1
    with pytest.raises(ValueError, match="Avro"):
        list(read_blocks(io.BytesIO(bytes(data)))[1])
