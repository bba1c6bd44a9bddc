"""Order columns of rows in, versions as bytes that sort like the rows out; and keys in, their hashes out.

`_version` is, from the left: connection epoch, Airbyte generation, the contract's order columns, creation time of the
job, its id, extraction time, part, object's generation and name, row. The job precedes the extraction time, which is a
worker's clock, and its creation precedes its id, as ids start over with a new Airbyte. NULL is lowest, then -inf … inf,
then NaN; -0.0 equals 0.0; timestamps count microseconds. Every part is prefix-free, so that comparing bytes (memcmp)
equals comparing the parts one by one.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.rows import Mask
from millrace.domain.batch import min_version

Words = npt.NDArray[np.uint64]
Part = bytes | Words | Mask

SIGN = np.uint64(1 << 63)
EPOCH_BYTES = 4
NULL, VALUE = b"\x00", b"\x01"
TEXT_END, TEXT_ZERO = b"\x00\x00", b"\x00\xff"
PART = re.compile(r"(\d+)\.(?:parquet|avro)(?:-\d+)?$")


@dataclass(frozen=True)
class Origin:
    """The parts of a version that all rows of one object share."""

    epoch: int
    generation_id: int
    job_created_us: int
    job_id: int
    object: str
    generation: int

    @property
    def part(self) -> int:
        """Return the number of the file within its sync, 0 if its name has none."""
        match = PART.search(self.object)
        return int(match[1]) % (1 << 32) if match else 0

    @property
    def head(self) -> bytes:
        """Return the bytes before the order columns."""
        return bytes.fromhex(min_version(self.epoch, self.generation_id))

    @property
    def job(self) -> bytes:
        """Return the bytes between the order columns and the extraction time.

        Versions that were stored before they named the job's creation have the extraction time here. Both are times in
        one encoding, and a job extracts after its creation: rows of later jobs are newer, the same row again is not.
        """
        return (self.job_created_us + int(SIGN)).to_bytes(8, "big") + self.job_id.to_bytes(8, "big")

    @property
    def file(self) -> bytes:
        """Return the bytes between the extraction time and the row; a repaired object is newer than before."""
        digest = hashlib.sha256(self.object.encode()).digest()[:4]
        return self.part.to_bytes(4, "big") + self.generation.to_bytes(8, "big") + digest


def encode_version(
    origin: Origin,
    order: Sequence[pa.Array],
    extracted_at: pa.Array,
    rows: npt.NDArray[np.int64],
    generations: npt.NDArray[np.int64] | None = None,
) -> pa.Array:
    """Return `_version` of each row, as `binary`.

    Args:
        origin: the object of the rows.
        order: the contract's order columns, of contract types.
        extracted_at: the time when Airbyte extracted each row, `timestamp[us, UTC]`.
        rows: position of each row in its object, from 0.
        generations: Airbyte's generation of each row, unless all have that of the origin.
    """
    head: list[Part] = [origin.head]
    if generations is not None:
        head = [origin.head[:EPOCH_BYTES], generations.astype(np.uint64)]
    extracted = _signed(pc.fill_null(extracted_at.cast(pa.int64()), 0))
    after: list[Part] = [origin.job, extracted, origin.file, rows.astype(np.uint64)]
    count = len(rows)
    if all(_is_fixed(column.type) for column in order):
        return _pack(count, [*head, *(part for column in order for part in _fixed(column)), *after])
    return _join([_pack(count, head), *(_any(column) for column in order), _pack(count, after)])


def sort_words(versions: pa.Array) -> Iterator[Words]:
    """Yield versions as columns of 64-bit words in which they differ, most significant first: numpy sorts these fast.

    Shorter ones are padded with zeros, which keeps their order, as no version is a prefix of another.
    """
    if len(versions) == 0:
        return
    narrowest, widest = pc.min_max(pc.binary_length(versions)).as_py().values()
    if narrowest == widest:
        letters = np.frombuffer(versions.cast(pa.binary(widest)).buffers()[1], np.uint8)
    else:
        letters = np.array(versions.to_numpy(zero_copy_only=False), f"S{widest}").view(np.uint8)
    letters = letters[: len(versions) * widest].reshape(-1, widest)
    for start in range(0, widest, 8):
        padded = np.zeros((len(versions), 8), np.uint8)
        padded[:, : widest - start] = letters[:, start : start + 8]
        word = padded.view(">u8")[:, 0].astype(np.uint64)
        if word.min() != word.max():
            yield word


def hash_keys(columns: Sequence[pa.Array]) -> Words:
    """Return a 64-bit hash of each key, the same on every machine and in every run."""
    hashes = np.full(len(columns[0]), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns:
        hashes = _mix(hashes ^ _mix(_column_words(column)))
    return hashes


def _column_words(column: pa.Array) -> Words:
    if _is_fixed(column.type) and not pa.types.is_floating(column.type):
        return _signed(_as_int64(column))
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    values = column.to_numpy(zero_copy_only=False)
    return np.asarray(pd.util.hash_array(values, categorize=False), dtype=np.uint64)


def _mix(words: Words) -> Words:
    """Apply the finalizer of splitmix64: each input bit affects every output bit."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))


def _is_fixed(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_date(kind)
        or types.is_timestamp(kind)
    )


def _as_int64(column: pa.Array) -> pa.Array:
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    return pc.fill_null(column.cast(pa.int64()), 0)


def _signed(column: pa.Array) -> Words:
    """Convert signed integers to words that sort the same way."""
    words: Words = column.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64) ^ SIGN
    return words


def _floats(column: pa.Array) -> Words:
    """Convert doubles to words that sort the same way: -inf … inf, NaN; -0.0 as 0.0."""
    values = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False).copy()
    values[values == 0.0] = 0.0
    nan = np.isnan(values)
    bits = values.view(np.uint64)
    words: Words = np.where(bits & SIGN, ~bits, bits | SIGN)
    words[nan] = np.uint64(0xFFFFFFFFFFFFFFFF)
    return words


def _fixed(column: pa.Array) -> tuple[Mask, Words]:
    """Return a flag and a word per row; both are zero for NULL."""
    words = _floats(column) if pa.types.is_floating(column.type) else _signed(_as_int64(column))
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return valid, np.where(valid, words, np.uint64(0))


def _any(column: pa.Array) -> pa.Array:
    """Encode an order column of any type as prefix-free bytes."""
    if _is_fixed(column.type):
        return _pack(len(column), _fixed(column))
    if pa.types.is_decimal(column.type):
        return pa.array([_decimal(value) for value in column.to_pylist()], pa.binary())
    return pa.array([_text(value) for value in column.cast(pa.binary()).to_pylist()], pa.binary())


def _text(value: bytes | None) -> bytes:
    return NULL if value is None else VALUE + value.replace(b"\x00", TEXT_ZERO) + TEXT_END


def _decimal(value: object) -> bytes:
    """Encode a decimal: all values of a column have one scale, so their digits compare as integers of 32 bytes."""
    if value is None:
        return NULL
    digits = int(str(value).replace(".", "")) if "E" not in str(value) else int(f"{value:f}".replace(".", ""))
    return VALUE + (digits + (1 << 255)).to_bytes(32, "big")


def _pack(count: int, parts: Sequence[Part]) -> pa.Array:
    """Pack rows of equal width: constant bytes, a byte per flag, eight per word, big-endian."""
    kinds = [f"V{len(p)}" if isinstance(p, bytes) else "u1" if p.dtype == np.bool_ else ">u8" for p in parts]
    packed = np.empty(count, np.dtype([(str(number), kind) for number, kind in enumerate(kinds)]))
    for number, part in enumerate(parts):
        packed[str(number)] = np.void(part) if isinstance(part, bytes) else part
    width = packed.dtype.itemsize
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    return pa.BinaryArray.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(packed)])


def _join(parts: Sequence[pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))
