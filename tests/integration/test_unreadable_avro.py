"""Avro files that are damaged, or that nothing reads: each is rejected by name, and nothing else is raised."""

import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

import fastavro
import pytest

from beam_job.steps.files import DataFile
from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected, FileVanished
from millrace.lake.avro import block_file, decoded_blocks, read_metadata
from millrace.lake.footers import count_rows
from millrace.lake.store import Lake
from tests.support.avro import read, written
from tests.support.in_process import MemoryLake


def test_unknown_codec_is_named() -> None:
    with pytest.raises(FileRejected, match=r"file.unreadable: raw/\S+: its codec is lzzz"):
        read(written("string", ["a"]).replace(b"\x08null", b"\x08lzzz"))


def test_number_longer_than_its_decimal_is_named() -> None:
    data = written({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 0}, [Decimal(123_456_789)])
    with pytest.raises(FileRejected, match=r"file\.unreadable"):
        read(data.replace(b'"precision": 9', b'"precision": 5'))


def broken(data: bytes) -> Iterator[bytes]:
    """Yield copies with one changed byte each."""
    for at in range(len(data)):
        for mask in (0xFF, 0x01, 0x80):
            copy = bytearray(data)
            copy[at] ^= mask
            yield bytes(copy)


@pytest.mark.parametrize("schema", ["string", ["null", {"type": "array", "items": ["null", "string"]}]])
def test_changed_byte_raises_only_rejections(schema: Any) -> None:
    values: list[Any] = ["abc", "d" * 90] if schema == "string" else [["abc", None], None]
    rejected = 0
    for data in broken(written(schema, values, "snappy") if schema == "string" else written(schema, values)):
        try:
            read(data)
        except (FileRejected, MemoryError):
            rejected += 1
    assert rejected > 50


def test_flipped_bit_in_a_snappy_block_is_named() -> None:
    data = bytearray(written("string", ["abcdefgh"], "snappy"))
    data[data.index(b"abcdefgh")] ^= 1
    with pytest.raises(FileRejected, match="checksum"):
        read(bytes(data))


def test_missing_rows_of_a_block_are_named() -> None:
    cases: list[tuple[Any, list[Any]]] = [
        ("long", [1, 2]),
        (["string", "null"], ["a", "b"]),
        ("boolean", [True, False]),
        ({"type": "array", "items": "long"}, [[1], [2]]),
    ]
    for schema, values in cases:
        data = written(schema, values)
        ((rows, plain),) = decoded_blocks(data)
        text = read_metadata(data)["avro.schema"]
        for wrong in (rows - 1, rows + 1):
            with pytest.raises(FileRejected, match=r"file\.unreadable"):
                read(block_file(text, wrong, plain))


def test_negative_rows_are_counted_as_unreadable() -> None:
    lake = cast(Lake, MemoryLake())
    data = written("long", [1])
    at = len(data) - 16 - 3
    assert data[at] == 2
    lake.write("a.avro", data)
    assert count_rows(lake, "a.avro") == 1
    lake.write("a.avro", data[:at] + b"\x01" + data[at + 1 :])
    assert count_rows(lake, "a.avro") is None


def test_rows_that_are_no_records_are_named() -> None:
    buffer = io.BytesIO()
    fastavro.writer(buffer, "long", [1])
    with pytest.raises(FileRejected, match="the rows of the Avro file are no records"):
        read(buffer.getvalue())


def test_vanished_file_is_no_rejection_by_content() -> None:
    obj = BatchObject(name="a.avro", generation=1, size=5, rows=None, job_id=1, epoch=0, generation_id=0)
    with pytest.raises(FileVanished):
        DataFile(cast(Lake, MemoryLake()), obj)


def test_refused_file_prints_no_backtrace() -> None:
    with tempfile.NamedTemporaryFile(suffix=".avro") as file:
        file.write(written(["null", {"type": "enum", "name": "e", "symbols": ["A"]}], ["A", None]))
        file.flush()
        code = (
            "from beam_job.steps.avro_reader import AvroReader\nfrom millrace.lake.avro import read_header\n"
            f"header = read_header(open({file.name!r}, 'rb'))\n"
            f"print([t.to_pylist() for t in AvroReader(header).tables(open({file.name!r}, 'rb').read(), None)])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[[{'v': 'A'}, {'v': None}]]"
    assert done.stderr == ""
