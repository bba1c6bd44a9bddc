"""An Avro container file in; its blocks, or smaller Avro files, out, without decoding the rows.

https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeAlias

import cramjam

MAGIC, SYNC_BYTES, CRC_BYTES, VARINT_BYTES, LONGEST = b"Obj\x01", 16, 4, 10, 1 << 64
MOST_HEADER_BYTES = 64 << 20
Span: TypeAlias = tuple[int, int]
"""The first byte of a block, and the byte after the last one."""


class Readable(Protocol):
    """What yields bytes in order."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, fewer only at the end."""
        ...


@dataclass(frozen=True)
class Block:
    """The position and size of a block in its file, sync marker included, and its number of rows."""

    start: int
    size: int
    rows: int


def read_header(file: BinaryIO) -> bytes:
    """Return the header of a file that is at its beginning; the header's last bytes are the sync marker.

    Raises:
        ValueError: the file is not Avro, or is truncated.
    """
    copy = _Copy(file)
    _metadata(copy)
    _exactly(copy, SYNC_BYTES)
    return bytes(copy.data)


def read_blocks(file: BinaryIO, header: bytes, span: Span | None = None) -> Iterator[Block]:
    """Yield the blocks of a file in order, or those that start in a span of its bytes, which starts with a block.

    Only the numbers before each block and the marker after it are read; a `file` that fetches ranges skips the rest.

    Raises:
        ValueError: the file is truncated, or is not Avro.
    """
    sync = header[-SYNC_BYTES:]
    start, stop = span or (len(header), None)
    file.seek(start)
    while (stop is None or start < stop) and (first := file.read(1)):
        rows, size = _long(file, first), _long(file)
        if rows < 0:
            raise ValueError("not an Avro file: a block has a negative number of rows")
        _skip(file, size)
        _expect(file, sync)
        end = file.tell()
        yield Block(start, end - start, rows)
        file.seek(end)
        start = end


def read_metadata(header: bytes) -> dict[str, bytes]:
    """Return the entries of a file's header by name, such as `avro.schema` and `avro.codec`."""
    return _metadata(io.BytesIO(header))


class _Copy:
    """A file that keeps what is read from it, so that a remote one is not read twice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.data = file, bytearray()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.data += data
        return data


def _metadata(file: Readable) -> dict[str, bytes]:
    entries: dict[str, bytes] = {}
    _expect(file, MAGIC)
    while count := _long(file):
        if count < 0:
            _long(file)  # the size of the following entries
        for _ in range(abs(count)):
            name = _text(file).decode()
            entries[name] = _text(file)
    return entries


def avro_parts(file: BinaryIO, header: bytes, window: int, span: Span | None = None) -> Iterator[bytes]:
    """Yield the blocks of a file, or of a span of it, as Avro files; yield at least one.

    The blocks that start in one window of the file's bytes are one Avro file. So spans that begin with the first block
    of a window give the same Avro files as the whole.

    Raises:
        ValueError: the file is truncated, or is not Avro.
    """
    start = end = span[0] if span else len(header)
    for block in read_blocks(file, header, span):
        if end > start and block.start // window != start // window:
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
    file = io.BytesIO(part)
    header = read_header(file)
    codec = read_metadata(header).get("avro.codec", b"null").decode()
    if codec not in CODECS:
        raise ValueError(f"its codec is {codec}; known are {', '.join(CODECS)}")
    for block in read_blocks(file, header):
        content = io.BytesIO(part[block.start : block.start + block.size])
        _long(content)
        size = _long(content)
        yield block.rows, CODECS[codec](_exactly(content, size))


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


def _long(file: Readable, first: bytes = b"") -> int:
    """Read a zigzag-coded integer, of which the first byte may be read already."""
    number = shift = 0
    for _ in range(VARINT_BYTES):
        byte = (first or _exactly(file, 1))[0]
        first = b""
        number |= (byte & 0x7F) << shift
        if byte < 0x80 and number < LONGEST:
            return (number >> 1) ^ -(number & 1)
        shift += 7
    raise ValueError("not an Avro file: a number is too long")


def _skip(file: BinaryIO, count: int) -> None:
    if count < 0:
        raise ValueError("not an Avro file: a size is negative")
    file.seek(count, 1)


def _text(file: Readable) -> bytes:
    size = _long(file)
    if not 0 <= size <= MOST_HEADER_BYTES:
        raise ValueError("not an Avro file: its header has an entry of an impossible size")
    return _exactly(file, size)


def _exactly(file: Readable, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError("the Avro file is truncated")
    return data


def _expect(file: Readable, expected: bytes) -> None:
    if file.read(len(expected)) != expected:
        raise ValueError("not an Avro file, or a truncated one")
