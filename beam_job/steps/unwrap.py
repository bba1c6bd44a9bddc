"""Columns of any Arrow layout in, the same values in the plain layout of their type out."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.storage_types import uuid_texts

MOST_BYTES = (1 << 31) - 1  # of one array of texts, whose offsets have 32 bits


def unwrap(column: pa.Array) -> pa.Array:
    """Return the values behind dictionaries, runs, views and extensions; UUID becomes text, small decimals 128 bits."""
    kind, t = column.type, pa.types
    if t.is_dictionary(kind):
        return _roomy(unwrap(column.dictionary)).take(column.indices)
    if t.is_run_end_encoded(kind):
        rows = np.arange(column.offset, column.offset + len(column))
        runs = np.searchsorted(column.run_ends.to_numpy(zero_copy_only=False), rows, side="right")
        return _roomy(unwrap(column.values)).take(pa.array(runs))
    if isinstance(kind, pa.UuidType):
        return uuid_texts(column.storage)
    if isinstance(kind, pa.Bool8Type):
        return column.storage.cast(pa.bool_())
    if isinstance(kind, pa.BaseExtensionType):
        return unwrap(column.storage)
    if t.is_string_view(kind):
        return column.cast(pa.large_string())
    if t.is_binary_view(kind):
        return column.cast(pa.large_binary())
    if t.is_decimal32(kind) or t.is_decimal64(kind):
        return column.cast(pa.decimal128(kind.precision, kind.scale))
    return column


def _roomy(values: pa.Array) -> pa.Array:
    """Return texts and bytes with offsets of 64 bits: repeated values may need more than 2 GB."""
    wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}.get(values.type)
    return values.cast(wide) if wide else values


def cast_bytes(column: pa.Array, target: pa.DataType, most: int = MOST_BYTES) -> pa.Array:
    """Cast texts or bytes to `string` or `binary`, in chunks if one array can not hold them."""
    if column.type == target:
        return column
    if len(column) > 1 and _size(column) > most:
        half = len(column) // 2
        parts = [cast_bytes(part, target, most) for part in (column.slice(0, half), column.slice(half))]
        chunks = [c for p in parts for c in (p.chunks if isinstance(p, pa.ChunkedArray) else [p])]
        return pa.chunked_array(chunks, target)
    return column.cast(target)


def _size(column: pa.Array) -> int:
    return int(pc.sum(pc.binary_length(column)).as_py() or 0)
