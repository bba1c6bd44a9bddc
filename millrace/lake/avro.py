"""An Avro container file in; its blocks, or smaller Avro files, out, without decoding the rows.

https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC, SYNC_BYTES, VARINT_BYTES = b"Obj\x01", 16, 10


@dataclass(frozen=True)
class Block:
    """The position and size of a block in its file, sync marker included, and its number of rows."""

    start: int
    size: int
    rows: int


def read_blocks(file: BinaryIO) -> tuple[bytes, Iterator[Block]]:
    """Return the file's header, and an iterator that reads its blocks in order.

    Raises:
        ValueError: the file is not Avro, or is truncated.
    """
    _expect(file, MAGIC)
    while count := _long(file):
        if count < 0:
            _long(file)  # the size of the following entries
        for _ in range(2 * abs(count)):
            _skip(file, _long(file))
    sync = _exactly(file, SYNC_BYTES)
    end = file.tell()
    file.seek(0)
    header = _exactly(file, end)
    return header, _blocks(file, sync)


def _blocks(file: BinaryIO, sync: bytes) -> Iterator[Block]:
    start = file.tell()
    while head := file.read(1):
        file.seek(start)
        del head
        rows, size = _long(file), _long(file)
        _skip(file, size)
        _expect(file, sync)
        end = file.tell()
        yield Block(start, end - start, rows)
        file.seek(end)
        start = end


def avro_parts(file: BinaryIO, most_bytes: int) -> Iterator[bytes]:
    """Yield the file as Avro files of at most about `most_bytes`, each with some of the blocks; yield at least one.

    Raises:
        ValueError: the file is not Avro, or is truncated.
    """
    header, blocks = read_blocks(file)
    start = end = len(header)
    for block in blocks:
        if end > start and block.start + block.size - start > most_bytes:
            yield header + _slice(file, start, end)
            start = end
        end = block.start + block.size
    if end > start or start == len(header):
        yield header + _slice(file, start, end)


def _slice(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return _exactly(file, end - start)


def _long(file: BinaryIO) -> int:
    """Read a zigzag-coded integer."""
    number = shift = 0
    for _ in range(VARINT_BYTES):
        byte = _exactly(file, 1)[0]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1)
        shift += 7
    raise ValueError("not an Avro file: a number is too long")


def _skip(file: BinaryIO, count: int) -> None:
    if count < 0:
        raise ValueError("not an Avro file: a size is negative")
    file.seek(count, 1)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError("the Avro file is truncated")
    return data


def _expect(file: BinaryIO, expected: bytes) -> None:
    if file.read(len(expected)) != expected:
        raise ValueError("not an Avro file, or a truncated one")
