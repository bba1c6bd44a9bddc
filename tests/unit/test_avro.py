"""Avro files by their blocks: counted and divided without reading a row."""

import io
from typing import Any

import fastavro
import pytest

from millrace.lake.avro import Block, Span, avro_parts, read_blocks, read_header

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


def blocks_of(data: bytes) -> list[Block]:
    return list(read_blocks(io.BytesIO(data), read_header(io.BytesIO(data))))


def parts_of(data: bytes, window: int, span: Span | None = None) -> list[bytes]:
    return list(avro_parts(io.BytesIO(data), read_header(io.BytesIO(data)), window, span))


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_parts_are_bounded_and_keep_all_rows(codec: str) -> None:
    data = written(ROWS, codec)
    parts = parts_of(data, 1_000)
    assert len(parts) > 3
    assert max(map(len, parts)) < 2_000
    assert [row for part in parts for row in rows_of(part)] == ROWS


def test_file_without_rows_is_one_empty_part() -> None:
    data = written([])
    assert parts_of(data, 10) == [data]


def test_blocks_count_rows_and_cover_the_file() -> None:
    data = written(ROWS)
    header, listed = read_header(io.BytesIO(data)), blocks_of(data)
    assert sum(block.rows for block in listed) == len(ROWS)
    assert len(header) + sum(block.size for block in listed) == len(data)


@pytest.mark.parametrize("cut", [2, 30, -1, -20])
def test_truncated_file_is_invalid_avro(cut: int) -> None:
    with pytest.raises(ValueError, match="Avro"):
        parts_of(written(ROWS)[:cut], 2_000)


def test_foreign_sync_marker_is_found() -> None:
    data = bytearray(written(ROWS))
    data[-1] ^= 1
    with pytest.raises(ValueError, match="Avro"):
        blocks_of(bytes(data))
