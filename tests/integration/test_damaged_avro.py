"""Damaged Avro files are refused with a plain reason, and without a library's backtrace in the logs."""

import io
import os
import subprocess
import sys

import fastavro
import pytest

from beam_job.steps.avro_reader import AvroReader
from millrace.lake.avro import read_header
from tests.support.servers import ROOT

ROWS = [{"id": number, "name": f"name {number}"} for number in range(3)]
TOO_LONG = bytes([0xFE, 0xFF, 0xFF, 0xFF, 0x0F])  # a length of 2,147,483,647 bytes

CODE = """
import sys
from beam_job.steps.avro_reader import AvroReader
from millrace.lake.avro import read_header
data = sys.stdin.buffer.read()
try:
    list(AvroReader(read_header(__import__("io").BytesIO(data))).tables(data, None))
except ValueError as error:
    print(error)
"""


def written() -> bytes:
    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]
    buffer = io.BytesIO()
    fastavro.writer(buffer, {"type": "record", "name": "row", "fields": fields}, ROWS)
    return buffer.getvalue()


def damaged(old: bytes, new: bytes) -> bytes:
    data = written()
    assert data.count(old) == 1
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (damaged(b"\x0cname 1", TOO_LONG + b"me"), "its rows do not match its schema (EOFError: "),
        (damaged(b"name 1", b"name \xff"), "a text in it is not UTF-8 (invalid start byte)"),
        (damaged(b"\x0cname 1", b"\x0bname 1"), "its rows do not match its schema (EOFError: "),
    ],
)
def test_reason_of_damaged_rows_is_plain(data: bytes, reason: str) -> None:
    header = read_header(io.BytesIO(data))
    with pytest.raises(ValueError, match="the Avro file is damaged: ") as error:
        list(AvroReader(header).tables(data, None))
    assert reason in str(error.value)


def test_damaged_rows_print_no_backtrace() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input=damaged(b"\x0cname 1", TOO_LONG + b"me"),
        env={**os.environ, "RUST_BACKTRACE": "1"},
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"the Avro file is damaged: ")
    assert b"stack backtrace" not in done.stderr
