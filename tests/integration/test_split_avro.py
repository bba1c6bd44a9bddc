"""A large Avro file is read in parts of whole blocks by several workers, and nothing but their number shows it."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

import pyarrow as pa
import pytest

from beam_job.split import PART_BYTES, split
from beam_job.steps import files
from beam_job.steps.files import DataFile
from beam_job.steps.read import read_keys
from beam_job.steps.work import Work
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch
from millrace.lake.avro import CODECS, Block, read_blocks, read_header
from millrace.lake.store import Lake
from tests.support.merging import contract, delete, upsert
from tests.support.parts import MARKER, Outcome, avro_file, landed, outcome

NAME = "raw/a.avro"
LURE = f"{MARKER.decode()}\x02\x04{MARKER.decode()}"  # as if a block of one row and two bytes began here
ROWS: list[dict[str, Any]] = [
    (upsert(n % 37, n, LURE if n % 5 == 0 else f"name {n}") | {"amount": 1.0 * n}) if n % 11 else delete(n % 37, n)
    for n in range(60)
]
BLOCK_BYTES = [1, 300, 1 << 20]  # blocks of one row, of some, of all


@contextmanager
def windows(size: int) -> Iterator[None]:
    """Read files, whole or in parts, in windows of this size."""
    with mock.patch("beam_job.steps.files.WHOLE_BYTES", size):
        yield


def blocks_of(data: bytes) -> list[Block]:
    return list(read_blocks(io.BytesIO(data), read_header(io.BytesIO(data))))


def invalid(*positions: int) -> list[dict[str, Any]]:
    return [row | {"amount": 0.5} if n in positions else row for n, row in enumerate(ROWS)]


def both(data: bytes, window: int, part_bytes: int) -> tuple[Outcome, Outcome, int]:
    """What becomes of a file as a whole and in parts, and the number of its parts."""
    with windows(window):
        lake, batch = landed(data, len(ROWS), NAME)
        parts = split(lake, batch, part_bytes)
        whole = outcome(lake, contract(), batch)
        return whole, outcome(lake, contract(), parts), len(parts.objects)


@pytest.mark.parametrize("block_bytes", BLOCK_BYTES)
@pytest.mark.parametrize("codec", CODECS)
def test_every_cut_gives_the_rows_of_the_file(codec: str, block_bytes: int) -> None:
    data = avro_file(ROWS, codec, block_bytes)
    blocks = blocks_of(data)
    assert {1: len(blocks) == len(ROWS), 300: 5 < len(blocks) < len(ROWS)}.get(block_bytes, len(blocks) == 1)
    lake, batch = landed(data, len(ROWS), NAME)
    whole = pa.concat_tables(table for _, table in DataFile(lake, batch.objects[0]).chunks())
    assert whole.column("name").to_pylist() == [row.get("name") for row in ROWS]
    for part_bytes in (1, 400, 1_500, len(data) - 1):
        parts = split(lake, batch, part_bytes).objects
        assert len(parts) == len({block.start // part_bytes for block in blocks})
        read = [chunk for part in parts for chunk in DataFile(lake, part).chunks()]
        assert [first for first, _ in read] == [sum(t.num_rows for _, t in read[:n]) for n in range(len(read))]
        assert pa.concat_tables(table for _, table in read) == whole
        assert sum(part.rows or 0 for part in parts) == len(ROWS)
        assert split(lake, batch, part_bytes).objects == parts, "every run splits it alike"


@pytest.mark.parametrize("codec", CODECS)
def test_parts_stage_what_the_whole_file_does(codec: str) -> None:
    whole, parts, number = both(avro_file(invalid(3, 41, 59), codec, 300), 400, 400)
    assert whole == parts
    assert number > 2
    assert [(reason, row) for reason, row, _ in sorted(parts[2])] == [("row.type", n) for n in (3, 41, 59)]


def test_invalid_rows_of_all_blocks_count_as_one() -> None:
    data = avro_file(invalid(*range(5, 60, 7)), "snappy", 300)
    for most, quarantined in ((8, 8), (7, len(ROWS))):
        with mock.patch("beam_job.steps.read.MAX_QUARANTINED_ROWS", most):
            whole, parts, number = both(data, 400, 800)
        assert whole == parts
        assert (parts[2].total(), number > 2) == (quarantined, True)


def damaged(data: bytes, block: Block) -> bytes:
    """Invert a block's first byte of data, which stands after two numbers."""
    at = block.start
    for _ in range(2):
        while data[at] >= 0x80:
            at += 1
        at += 1
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_block_rejects_the_whole_file(codec: str) -> None:
    data = avro_file(ROWS, codec, 300)
    blocks = blocks_of(data)
    for block in (blocks[0], blocks[len(blocks) // 2], blocks[-1]):
        whole, parts, number = both(damaged(data, block), 400, 400)
        assert whole == parts
        assert number > 2
        ((reason, row, _),) = parts[2]
        assert (reason, row, parts[2].total()) == ("file.unreadable", None, len(ROWS))


@pytest.mark.parametrize("faults", [(b"\x0enam\xff ", b"\x0dname "), (b"\x0dname ", b"\x0enam\xff ")])
def test_first_of_two_faults_is_the_reason(faults: tuple[bytes, bytes]) -> None:
    """One text is not UTF-8, and the length of another is wrong."""
    data = avro_file(ROWS, "null", 300)
    blocks, reasons = blocks_of(data), []
    for early, late in (faults, (faults[0], b"\x0ename ")):
        broken = data
        for block, fault in ((blocks[2], early), (blocks[-1], late)):
            end = block.start + block.size
            content = broken[block.start : end].replace(b"\x0ename ", fault, 1)
            broken = broken[: block.start] + content + broken[end:]
        whole, parts, number = both(broken, 400, 400)
        assert whole == parts
        assert number > 2
        reasons.append(parts[2])
    assert reasons[0] == reasons[1], "the later fault changes nothing"


def test_broken_marker_leaves_the_file_whole() -> None:
    data = avro_file(ROWS, "null", 300)
    block = blocks_of(data)[3]
    at = block.start + block.size - len(MARKER)
    whole, parts, number = both(data[:at] + b"?" + data[at + 1 :], 400, 400)
    assert whole == parts
    assert number == 1
    ((reason, row, _),) = parts[2]
    assert (reason, row) == ("file.unreadable", None)


def test_cuts_fall_between_windows_of_the_reader() -> None:
    """Otherwise blocks that are decoded at once in the whole file would be decoded apart in its parts."""
    assert PART_BYTES % files.WHOLE_BYTES == 0


def test_many_blocks_leave_the_file_whole() -> None:
    data = avro_file(ROWS, "null", 1)
    lake, batch = landed(data, len(ROWS), NAME)
    for most, whole in ((len(ROWS), False), (len(ROWS) - 1, True)):
        with mock.patch("beam_job.split.MOST_BLOCKS", most):
            assert (split(lake, batch, 500) == batch) == whole


class Ranges(io.BytesIO):
    """A file that counts the bytes that are read from it, and remembers where."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.read_at: list[tuple[int, int]] = []

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell()
        data = super().read(size)
        self.read_at.append((at, at + len(data)))
        return data


def test_part_reads_its_header_and_blocks_only() -> None:
    data = avro_file(ROWS, "deflate", 300)
    lake, batch = landed(data, len(ROWS), NAME)
    header, part = len(read_header(io.BytesIO(data))), split(lake, batch, 800).objects[1]
    file = Ranges(data)
    with mock.patch.object(lake, "open", return_value=file):
        assert sum(table.num_rows for _, table in DataFile(cast(Lake, lake), part).chunks()) == part.rows
    assert part.blocks is not None
    span = range(part.blocks.begin, part.blocks.end + 1)
    of_header = [end - begin for begin, end in file.read_at if end <= header]
    assert sum(of_header) == header, "the header is read once"
    assert all(begin in span and end in span for begin, end in file.read_at if end > header)


def test_parts_are_read_in_ranges_of_an_object(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    data = avro_file(ROWS, "snappy", 300)
    _, batch = landed(data, len(ROWS), NAME)
    obj = batch.objects[0].model_copy(update={"generation": lake.write(NAME, data)})
    monkeypatch.setattr("millrace.lake.gcs.RANGE_BYTES", 50)  # less than a block
    with windows(500):
        parts = split(lake, batch.model_copy(update={"objects": (obj,)}), 500).objects
        read = [chunk for part in parts for chunk in DataFile(lake, part).chunks(["name"])]
    assert len(parts) > 2
    assert [name for _, table in read for name in table.column("name").to_pylist()] == [r.get("name") for r in ROWS]


@pytest.mark.slow
def test_beam_workers_read_one_file_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_job.engines.pipeline import run_pipeline

    data = avro_file(invalid(3, 41, 59), "snappy", 300)
    lake, batch = landed(data, len(ROWS), NAME)
    whole, parts = outcome(lake, contract(), batch), split(lake, batch, 400)
    together = threading.Barrier(2)  # breaks, and the read with it, unless two workers are at it
    readers = set[int]()

    def reads(work: Work, *arguments: Any) -> Any:
        if threading.get_ident() not in readers:
            readers.add(threading.get_ident())
            together.wait(60)
        return read_keys(work, *arguments)

    monkeypatch.setattr("beam_job.steps.units.UNIT_BYTES", 1)
    monkeypatch.setattr("beam_job.engines.pipeline.open_lake", lambda *_: lake)
    monkeypatch.setattr("beam_job.engines.pipeline.read_keys", reads)
    options = PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_threading"])

    def run(stream: StreamContract, rejected: dict[int, str], attempt: str) -> None:
        run_pipeline((lake.url, ""), Work(lake, stream, parts, attempt), 2, rejected, options=options)

    assert outcome(lake, contract(), cast(Batch, parts), run) == whole
    assert len(readers) > 1
