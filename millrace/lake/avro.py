"""Avro container files by their blocks, without reading the rows.

https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC, SYNC_BYTES, VARINT_BYTES = b"Obj\x01", 16, 10


@dataclass(frozen=True)
class Block:
    """Where a block is in its file, with its head and sync marker, and how many rows it has."""

    start: int
    size: int
    rows: int


def read_blocks(file: BinaryIO) -> tuple[bytes, Iterator[Block]]:
    """The file's header, and its blocks in order as they are looked at.

    Raises:
        ValueError: it is no Avro, or breaks off.
    """
    _expect(file, MAGIC)
    while count := _long(file):
        if count < 0:
            _long(file)  # the size of what follows
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
    """The file as Avro files of about so many bytes, at least one: its header with some of its blocks each.

    Raises:
        ValueError: it is no Avro, or breaks off.
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
    """A zigzag-coded integer."""
    found = shift = 0
    for _ in range(VARINT_BYTES):
        byte = _exactly(file, 1)[0]
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1)
        shift += 7
    raise ValueError("this is no Avro: a number is too long")


def _skip(file: BinaryIO, count: int) -> None:
    if count < 0:
        raise ValueError("this is no Avro: a negative size")
    file.seek(count, 1)


def _exactly(file: BinaryIO, count: int) -> bytes:
    found = file.read(count)
    if len(found) != count:
        raise ValueError("this Avro file breaks off")
    return found


def _expect(file: BinaryIO, wanted: bytes) -> None:
    if file.read(len(wanted)) != wanted:
        raise ValueError("this is no Avro, or it breaks off")
