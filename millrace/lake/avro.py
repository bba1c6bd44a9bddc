"""An Avro container file in; its blocks, or smaller Avro files, out, without decoding the rows.

https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import cramjam

MAGIC, SYNC_BYTES, CRC_BYTES, VARINT_BYTES, LONGEST = b"Obj\x01", 16, 4, 10, 1 << 64
MOST_HEADER_BYTES = 64 << 20


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
    _metadata(file)
    sync = _exactly(file, SYNC_BYTES)
    end = file.tell()
    file.seek(0)
    header = _exactly(file, end)
    return header, _blocks(file, sync)


def read_metadata(header: bytes) -> dict[str, bytes]:
    """Return the entries of a file's header by name, such as `avro.schema` and `avro.codec`."""
    return _metadata(io.BytesIO(header))


def _metadata(file: BinaryIO) -> dict[str, bytes]:
    entries: dict[str, bytes] = {}
    _expect(file, MAGIC)
    while count := _long(file):
        if count < 0:
            _long(file)  # the size of the following entries
        for _ in range(abs(count)):
            name = _text(file).decode()
            entries[name] = _text(file)
    return entries


def _blocks(file: BinaryIO, sync: bytes) -> Iterator[Block]:
    start = file.tell()
    while head := file.read(1):
        file.seek(start)
        del head
        rows, size = _long(file), _long(file)
        if rows < 0:
            raise ValueError("not an Avro file: a block has a negative number of rows")
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


def decoded_blocks(part: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the (number of rows, decompressed bytes) of each block of an Avro file.

    Raises:
        ValueError: the codec is unknown, or a block is not what its codec wrote.
    """
    header, blocks = read_blocks(io.BytesIO(part))
    codec = read_metadata(header).get("avro.codec", b"null").decode()
    if codec not in CODECS:
        raise ValueError(f"its codec is {codec}; known are {', '.join(CODECS)}")
    for block in blocks:
        file = io.BytesIO(part[block.start : block.start + block.size])
        _long(file)
        size = _long(file)
        yield block.rows, CODECS[codec](_exactly(file, size))


def block_file(schema: bytes, rows: int, data: bytes) -> bytes:
    """Return an uncompressed Avro file of one block, from encoded rows and the JSON of their schema."""
    sync = bytes(SYNC_BYTES)
    entry = encode_number(len(b"avro.schema")) + b"avro.schema" + encode_number(len(schema)) + schema
    return b"".join(
        (
            MAGIC,
            encode_number(1),
            entry,
            encode_number(0),
            sync,
            encode_number(rows),
            encode_number(len(data)),
            data,
            sync,
        )
    )


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = stream.decompress(data)
    if not stream.eof:
        raise ValueError("a deflated block is truncated")
    return plain


def _unsnap(data: bytes) -> bytes:
    plain = bytes(cramjam.snappy.decompress_raw(data[:-CRC_BYTES]))
    if zlib.crc32(plain) != int.from_bytes(data[-CRC_BYTES:], "big"):
        raise ValueError("the checksum of a block is wrong")
    return plain


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": _inflate,
    "snappy": _unsnap,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "zstandard": lambda data: bytes(cramjam.zstd.decompress(data)),
}


def _slice(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return _exactly(file, end - start)


def encode_number(value: int) -> bytes:
    """Write a number that is not negative as a zigzag-coded integer."""
    value, coded = value << 1, bytearray()
    while value >= 0x80:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])


def _long(file: BinaryIO) -> int:
    """Read a zigzag-coded integer."""
    number = shift = 0
    for _ in range(VARINT_BYTES):
        byte = _exactly(file, 1)[0]
        number |= (byte & 0x7F) << shift
        if byte < 0x80 and number < LONGEST:
            return (number >> 1) ^ -(number & 1)
        shift += 7
    raise ValueError("not an Avro file: a number is too long")


def _skip(file: BinaryIO, count: int) -> None:
    if count < 0:
        raise ValueError("not an Avro file: a size is negative")
    file.seek(count, 1)


def _text(file: BinaryIO) -> bytes:
    size = _long(file)
    if not 0 <= size <= MOST_HEADER_BYTES:
        raise ValueError("not an Avro file: its header has an entry of an impossible size")
    return _exactly(file, size)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError("the Avro file is truncated")
    return data


def _expect(file: BinaryIO, expected: bytes) -> None:
    if file.read(len(expected)) != expected:
        raise ValueError("not an Avro file, or a truncated one")
